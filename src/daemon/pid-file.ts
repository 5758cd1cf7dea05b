import { readFile, rm, writeFile } from 'node:fs/promises';
import { hasCode, messageOf, RuntimeError } from '../core/errors.js';

/**
 * Writes this process's id to a file, for service managers that want it. Written once the state directory is ours, so
 * that a second daemon on the same configuration does not put its id over that of the first.
 * @returns what removes the file again, unless another process has written it since.
 * @throws RuntimeError when the file cannot be written.
 */
export async function writePidFile(path: string): Promise<() => Promise<void>> {
  const content = `${String(process.pid)}\n`;
  try {
    await writeFile(path, content, { mode: 0o644 });
  } catch (error) {
    throw new RuntimeError(
      `pid file ${path} cannot be written: ${messageOf(error)}; make its directory or change agent.pid-file`,
      { cause: error, details: { path } },
    );
  }
  return async () => {
    try {
      if ((await readFile(path, 'utf8')) === content) await rm(path, { force: true });
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  };
}
