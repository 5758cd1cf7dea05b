import { readFile } from 'node:fs/promises';

/** What of this machine and process decides whether a value may stand. */
export interface HostFacts {
  readonly uid: number;
  /** In Node's words: `linux`, `darwin`. */
  readonly platform: string;
  /** As Linux names it: `x86_64`, `aarch64`. */
  readonly arch: string;
  /** Text of `/proc/sys/kernel/core_pattern`; null where there is none. */
  readonly corePattern: string | null;
  /** Text of `/etc/passwd`; empty where there is none. */
  readonly passwd: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'x86' };

export async function readHostFacts(): Promise<HostFacts> {
  const [corePattern, passwd] = await Promise.all([
    readText('/proc/sys/kernel/core_pattern'),
    readText('/etc/passwd'),
  ]);
  return {
    uid: process.getuid?.() ?? -1,
    platform: process.platform,
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    corePattern: corePattern?.trim() ?? null,
    passwd: passwd ?? '',
  };
}

const readText = (path: string): Promise<string | null> =>
  readFile(path, 'utf8').then(
    (text) => text,
    () => null,
  );
