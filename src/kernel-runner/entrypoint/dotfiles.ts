import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import type { Complain } from '../complaint.js';
import { messageOf } from '../complaint.js';

export interface Dotfile {
  /** Below the home directory. */
  readonly path: string;
  readonly data: string;
  readonly mode: number;
}

/** @throws Error that names the file. */
export function parseDotfiles(text: string, home: string): readonly Dotfile[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new Error('it is no list');
  return value.map((item: unknown) => {
    const { path, data, perm } = (item ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof path !== 'string' || typeof data !== 'string' || typeof perm !== 'string')
      throw new Error('an entry has no path, data and perm');
    const inside = posix.relative(
      home,
      posix.isAbsolute(path) ? posix.normalize(path) : posix.join(home, path),
    );
    if (inside === '' || inside === '..' || inside.startsWith('../'))
      throw new Error(`'${path}' is outside of ${home}`);
    if (!/^(?:0o)?[0-7]{3,4}$/.test(perm)) throw new Error(`'${path}': '${perm}' is no octal permission`);
    return { path: inside, data, mode: Number.parseInt(perm.replace('0o', ''), 8) };
  });
}

/** Writes what `dotfiles.json` lists, as the kernel's user; its mode goes to the directories above it, too. */
export function extractDotfiles(config: string, home: string, complain: Complain): void {
  let text: string;
  try {
    text = readFileSync(join(config, 'dotfiles.json'), 'utf8');
  } catch {
    return;
  }
  try {
    for (const dotfile of parseDotfiles(text, home)) writeDotfile(dotfile, home);
  } catch (error) {
    complain('dotfiles.json cannot be extracted', { error: messageOf(error) });
  }
}

function writeDotfile({ path, data, mode }: Dotfile, home: string): void {
  const target = join(home, path);
  const directoryMode = mode | ((mode & 0o444) >> 2);
  let directory = home;
  for (const name of dirname(path)
    .split('/')
    .filter((part) => part !== '.')) {
    directory = join(directory, name);
    mkdirSync(directory, { recursive: true });
    if (!lstatSync(directory).isDirectory()) throw new Error(`${directory} is no directory`);
    chmodSync(directory, directoryMode);
  }
  rmSync(target, { force: true });
  writeFileSync(target, data.endsWith('\n') ? data : `${data}\n`, { flag: 'wx', mode });
  chmodSync(target, mode);
}
