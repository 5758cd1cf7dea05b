import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../core/errors.js';
import type { Kernel, KernelFacts } from '../kernel.js';
import { decodeRecord, encodeRecord } from '../kernel-record.js';
import type { ScratchFile } from './plan-scratch.js';

/** Beside `config` and `work`, of which alone the kernel sees something. */
const FILE = 'kernel.json';

/** A second record, written before the container is made, for an agent whose journal is lost (spec 9.3 R2). */
export const recordFile = (kernel: Kernel): ScratchFile => ({
  path: FILE,
  data: encodeRecord(kernel.facts),
  // It holds what the request holds, credentials included.
  mode: 0o600,
  directoryMode: null,
  ofKernel: false,
});

/** Null when there is none, as of kernels of the original. @throws ValueError when it cannot be read. */
export async function readScratchRecord(scratch: string): Promise<KernelFacts | null> {
  try {
    return decodeRecord(await readFile(join(scratch, FILE), 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}
