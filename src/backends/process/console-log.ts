import { open, stat, truncate, writeFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../core/errors.js';

export const consoleFile = (directory: string): string => join(directory, 'console.log');
const olderFile = (directory: string): string => join(directory, 'console.log.1');

/**
 * The runner writes straight into its file, so that it needs nobody to read while the daemon is away. Once the file
 * passes the bound, its tail moves to the older file and it is emptied; the writer appends, so it goes on at the
 * start. What is written between copy and emptying is lost: this is a diagnostic log, not the user's output.
 */
export async function rotateConsole(directory: string, maxBytes: number): Promise<void> {
  const path = consoleFile(directory);
  if ((await sizeOf(path)) <= maxBytes) return;
  const older = olderFile(directory);
  await writeFile(`${older}.new`, await tailOf(path, maxBytes), { mode: 0o600 });
  await rename(`${older}.new`, older);
  await truncate(path);
}

/** The last bytes that were written; empty when there is no log. */
export async function readConsole(directory: string, maxBytes: number): Promise<Uint8Array> {
  const newer = await tailOf(consoleFile(directory), maxBytes);
  if (newer.length >= maxBytes) return newer;
  const older = await tailOf(olderFile(directory), maxBytes - newer.length);
  return Buffer.concat([older, newer]);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function tailOf(path: string, maxBytes: number): Promise<Buffer> {
  if (maxBytes <= 0) return Buffer.alloc(0);
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return Buffer.alloc(0);
    throw error;
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxBytes);
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await file.read(buffer, 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
