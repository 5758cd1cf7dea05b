import { ValueError } from '../../core/errors.js';

/** The image's base is none that the runner package has something for (spec/kernel-runner.md 5.4). */
export class UnsupportedBaseDistroError extends ValueError {
  override readonly code: string = 'UNSUPPORTED_BASE_DISTRO';
  override readonly pythonName: string = 'UnsupportedBaseDistroError';
}

/** Versions of glibc -> the distribution that has them; one in between belongs to the lower entry. */
const GLIBC = [
  [[2, 17], 'centos7.6'],
  [[2, 27], 'ubuntu18.04'],
  [[2, 28], 'centos8.0'],
  [[2, 31], 'ubuntu20.04'],
  [[2, 34], 'centos9.0'],
  [[2, 35], 'ubuntu22.04'],
  [[2, 39], 'ubuntu24.04'],
] as const;
const MUSL = 'alpine3.8';

/** From what `ldd --version` prints, whichever line says it; null when none does. Older than all counts as the oldest. */
export function distroOfLdd(text: string): string | null {
  for (const line of text.split(/\r?\n/)) {
    if (/^musl libc\b/.test(line.trim())) return MUSL;
    const [, major, minor] = /^ldd\b.*?\s(\d+)\.(\d+)(?:\.\d+)?\s*$/.exec(line.trim()) ?? [];
    if (major === undefined || minor === undefined) continue;
    const version = [Number(major), Number(minor)];
    const known = GLIBC.filter(([glibc]) => compareVersions(glibc, version) <= 0);
    return (known.at(-1) ?? GLIBC[0])[1];
  }
  return null;
}

export const isMusl = (distro: string): boolean => distro.startsWith('alpine');

/**
 * Which of the keys is best for the distribution: a static one of its C library, else the newest of its name that is
 * not newer, else the oldest (spec/kernel-runner.md 5.4). Without a version the newest.
 * @throws UnsupportedBaseDistroError when there is none of its name.
 */
export function matchDistro(keys: readonly string[], distro: string): string {
  const asked = parseDistro(distro);
  const fixed = `static-${asked.name === 'alpine' ? 'musl' : 'gnu'}`;
  if (keys.includes(fixed)) return fixed;
  const newestFirst = keys
    .map((key) => ({ key, ...parseDistro(key) }))
    .filter(({ name }) => name === asked.name)
    .sort((a, b) => compareVersions(b.version, a.version));
  const found =
    asked.version.length === 0
      ? newestFirst[0]
      : (newestFirst.find(({ version }) => compareVersions(version, asked.version) <= 0) ??
        newestFirst.at(-1));
  if (found === undefined)
    throw new UnsupportedBaseDistroError(
      `base distribution '${distro}' is not supported: there is ${keys.length === 0 ? 'nothing' : keys.join(', ')}`,
    );
  return found.key;
}

interface Distro {
  readonly name: string;
  readonly version: readonly number[];
}

function parseDistro(text: string): Distro {
  const [, name = text, version = ''] = /^(.*?)(\d+(?:\.\d+)*)?$/.exec(text) ?? [];
  return { name, version: version === '' ? [] : version.split('.').map(Number) };
}

function compareVersions(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
