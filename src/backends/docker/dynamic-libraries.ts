import { execFile } from 'node:child_process';
import { open, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { RunnerVolumeError } from './errors.js';

const PT_INTERP = 3;
const HEADER_BYTES = 64;
/** Opened at run time by older C libraries when a name is looked up; newer ones have them built in. */
const NAME_SERVICES = /^lib(nss_(files|dns|compat)|resolv)\.so\.\d+$/;

/** Bytes of a 64-bit little-endian ELF program. @returns the path of its loader, null when it has none. */
export function loaderNamedIn(program: Uint8Array): string | null {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    return null;
  const table = Number(bytes.readBigUInt64LE(32));
  const entryBytes = bytes.readUInt16LE(54);
  for (let index = 0; index < bytes.readUInt16LE(56); index += 1) {
    const entry = table + index * entryBytes;
    if (entry + 56 > bytes.length) return null;
    if (bytes.readUInt32LE(entry) !== PT_INTERP) continue;
    const start = Number(bytes.readBigUInt64LE(entry + 8));
    const end = start + Number(bytes.readBigUInt64LE(entry + 32));
    return end > bytes.length ? null : bytes.toString('latin1', start, end).replace(/\0.*$/s, '');
  }
  return null;
}

/** Reads what `LOADER --list PROGRAM` prints, one library a line. @throws RunnerVolumeError naming one that is missing. */
export function parseLibraryList(text: string): readonly string[] {
  const paths: string[] = [];
  for (const line of text.split('\n')) {
    const [, name, target] = /^\s*(\S+) => (\S+.*?)(?: \(0x[0-9a-f]+\))?$/.exec(line) ?? [];
    if (name === undefined || target === undefined) continue;
    // The build of zeromq for glibc names musl's library, too, and does without.
    if (target.startsWith('not found')) {
      if (name.startsWith('libc.musl')) continue;
      throw new RunnerVolumeError(`the library ${name} is not on this machine`);
    }
    if (target.startsWith('/')) paths.push(target);
  }
  return paths;
}

/**
 * The first program's loader, and every library that the programs need, with all that those need.
 * @throws RunnerVolumeError when the first is no such program or a library is missing.
 */
export async function findLibraries(
  programs: readonly [string, ...string[]],
): Promise<{ readonly loader: string; readonly libraries: readonly string[] }> {
  const loader = loaderNamedIn(await firstBytes(programs[0]));
  if (loader === null)
    throw new RunnerVolumeError(`${programs[0]} is not a dynamically linked 64-bit program of this machine`);
  const libraries = new Map<string, string>();
  for (const program of programs) {
    const { stdout } = await promisify(execFile)(loader, ['--list', program], { env: { LC_ALL: 'C' } });
    for (const path of parseLibraryList(stdout))
      if (basename(path) !== basename(loader)) libraries.set(basename(path), path);
  }
  for (const path of [...libraries.values()].filter((library) => /^libc\.so/.test(basename(library)))) {
    const directory = dirname(await realpath(path));
    for (const name of await readdir(directory))
      if (NAME_SERVICES.test(name)) libraries.set(name, join(directory, name));
  }
  return { loader, libraries: [...libraries.values()].sort() };
}

/** Enough for the headers and the name of the loader, which stands right behind them. */
async function firstBytes(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(65_536);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
