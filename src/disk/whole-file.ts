import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { hasCode } from '../core/errors.js';

/**
 * The file has its old content or the new one, whatever happens; only its owner may read it. Writes of one file are
 * not put in order: whoever may write twice at the same time waits. To survive a power cut by all means, sync the
 * directory, too. What a crash leaves behind ends with `.tmp`. `fsync: false` is quicker: then a crash of the machine, not
 * of this process, may leave half of the new content.
 * @throws the system's error; the old content is then still there.
 */
export async function writeWhole(
  path: string,
  content: string | Uint8Array,
  { fsync = true }: { readonly fsync?: boolean } = {},
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      if (fsync) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Makes a creation, renaming or removal in the directory survive a crash of the machine. A missing one is fine. */
export async function syncDirectory(path: string): Promise<void> {
  let directory;
  try {
    directory = await open(path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
