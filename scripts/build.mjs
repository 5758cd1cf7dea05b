// Builds the package into dist/: the compiled sources, and the programs inside a kernel, each as one file of its own.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const kernelRunner = join(root, 'src/kernel-runner/main.ts');
const bundle = join(dist, 'kernel-runner.mjs');
/** The first program of a kernel's container, which becomes the runner. */
const entrypoint = join(root, 'src/kernel-runner/entrypoint/main.ts');
const entrypointBundle = join(dist, 'kernel-entrypoint.mjs');

/** What the compiler made of sources that are gone; incremental compiling leaves it behind. */
function removeOrphans() {
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true })) {
    const output = /^(.+?)\.(d\.ts|js|js\.map)$/.exec(entry);
    if (output && !existsSync(join(root, 'src', `${output[1]}.ts`))) rmSync(join(dist, entry));
  }
}

/** The compiler's exit status. It writes what it can even when there are type errors. */
function compile() {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const buildInfo = join(dist, '.tsbuildinfo');
  return spawnSync(
    process.execPath,
    [tsc, '-p', join(root, 'tsconfig.json'), '--incremental', '--tsBuildInfoFile', buildInfo],
    { stdio: 'inherit' },
  ).status;
}

/** zeromq stays outside: its native part cannot be bundled. */
async function bundleProgram(source, outfile) {
  if (!existsSync(source)) {
    rmSync(outfile, { force: true });
    return;
  }
  await build({
    absWorkingDir: root,
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['zeromq'],
    // CommonJS packages inside an ES module still call require().
    banner: {
      js: "import { createRequire as splenium_createRequire } from 'node:module'; const require = splenium_createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
}

removeOrphans();
const status = compile();
await bundleProgram(kernelRunner, bundle);
await bundleProgram(entrypoint, entrypointBundle);
const main = join(dist, 'main.js');
if (existsSync(main)) chmodSync(main, 0o755);
process.exitCode = status ?? 1;
