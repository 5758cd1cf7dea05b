import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterpretedRuntime } from './interpreted.js';
import type { RuntimeParts } from './runtime-process.js';
import { NODE_DRIVER } from './node-driver.js';
import type { BuiltinCommand, Runtime } from './runtime.js';

const MAIN_FILES = ['main.mjs', 'main.js', 'main.cjs'];

/** Queries in one Node.js process: globals and top-level declarations survive from one to the next. */
export function nodeRuntime(path: string, parts: RuntimeParts): Runtime {
  const file = join(parts.privateDirectory, 'driver.cjs');
  writeFileSync(file, NODE_DRIVER, { mode: 0o600 });
  return new InterpretedRuntime({ name: 'node', command: path, args: [file] }, parts, (step) =>
    builtinCommand(step, path, parts.work),
  );
}

function builtinCommand(step: 'build' | 'exec', path: string, work: string): BuiltinCommand {
  if (step === 'build') return { exitCode: 0, why: 'nothing to build' };
  const main = MAIN_FILES.find((name) => existsSync(join(work, name)));
  return main === undefined
    ? { exitCode: 127, why: 'cannot find the main script main.js' }
    : { argv: [path, main], batchMode: false };
}
