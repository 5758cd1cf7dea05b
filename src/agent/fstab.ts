import { randomBytes } from 'node:crypto';
import { lstat, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { ValueError } from '../core/errors.js';

export interface FstabEntry {
  readonly device: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly options: string | null;
}

/** Pure: the file with the entry in place of what it had for the same mount point. */
export function withEntry(text: string, entry: FstabEntry): string {
  const { device, mountPoint, fsType, options } = entry;
  const fields = [device, mountPoint, fsType, options === null || options === '' ? 'defaults' : options];
  return `${terminated(withoutEntry(text, mountPoint))}${fields.map(escaped).join(' ')} 0 0\n`;
}

/** Pure: the file without the entries of this mount point; everything else stays as it is, to the byte. */
export function withoutEntry(text: string, mountPoint: string): string {
  const lines = text.split('\n');
  return lines.filter((line) => mountPointOf(line) !== escaped(mountPoint)).join('\n');
}

/**
 * Replaces the file as a whole, so that a crash leaves the old one or the new one. Its mode stays.
 * @throws ValueError for what is no regular file, and the system's error.
 */
export async function editFstab(path: string, edit: (text: string) => string): Promise<void> {
  const found = await lstat(path);
  if (!found.isFile()) throw new ValueError(`${path} is no regular file`);
  const text = await readFile(path, 'utf8');
  const edited = edit(text);
  if (edited === text) return;
  const next = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(next, edited, { mode: found.mode & 0o7777, flag: 'wx' });
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}

function mountPointOf(line: string): string | undefined {
  const trimmed = line.trim();
  return trimmed.startsWith('#') ? undefined : trimmed.split(/\s+/)[1];
}

/** Fields end at white space, so that inside of one is written in octal (fstab(5)). */
const escaped = (field: string): string =>
  field.replace(/[\s\\#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);

const terminated = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
