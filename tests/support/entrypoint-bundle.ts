import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const SOURCE = fileURLToPath(new URL('../../src/kernel-runner/entrypoint/main.ts', import.meta.url));

/** The entry point of kernel containers as it is shipped: one file, in a directory of the caller's. */
export async function bundleEntrypoint(directory: string): Promise<string> {
  const path = join(directory, 'kernel-entrypoint.mjs');
  await build({
    entryPoints: [SOURCE],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: path,
    logLevel: 'warning',
  });
  return path;
}
