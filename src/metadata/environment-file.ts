import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../core/errors.js';
import { isSecretName } from '../core/secret-names.js';
import type { Kernel } from '../kernels/kernel.js';
import { scratchOf } from '../kernels/lifecycle/plan-mounts.js';

/** Far above what a process environment can hold. */
const MAX_BYTES = 4 * 1024 * 1024;

/** In the scratch directory that the kernel was made in, whatever its agent's root is by now (spec/kernel-lifecycle.md 9.3 R12). */
export const environmentFileOf = (kernel: Pick<Kernel, 'id' | 'scratchRoot'>, scratchRoot: string): string =>
  join(scratchOf({ settings: { scratchRoot } }, kernel).config, 'environ.txt');

/**
 * The variables of a kernel from its `environ.txt`, without those whose names say that they hold a secret: what a
 * process may read of itself anyway, but not what a flaw of some server in the kernel should hand to a stranger.
 * Null when the kernel has no such file.
 */
export async function readEnvironment(path: string): Promise<Readonly<Record<string, string>> | null> {
  try {
    const file = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(Math.min((await file.stat()).size, MAX_BYTES));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return publicVariables(buffer.toString('utf8', 0, bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** `KEY=VALUE` a line; the last one of a name counts. Pure. */
export function publicVariables(text: string): Readonly<Record<string, string>> {
  const variables = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0 && !isSecretName(line.slice(0, at))) variables.set(line.slice(0, at), line.slice(at + 1));
  }
  return Object.fromEntries(variables);
}
