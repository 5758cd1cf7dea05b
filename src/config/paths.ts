import { join, resolve } from 'node:path';

export interface PathBase {
  readonly cwd: string;
  readonly home: string;
}

/** Relative paths of the file count from the working directory, as in the original; `~` is the home directory. */
export function absolute(value: string, { cwd, home }: PathBase): string {
  if (value === '~') return home;
  return resolve(cwd, value.startsWith('~/') ? join(home, value.slice(2)) : value);
}

/** As `absolute`; null and empty stand for none. */
export const absoluteOrNull = (value: string | null, base: PathBase): string | null =>
  value === null || value === '' ? null : absolute(value, base);
