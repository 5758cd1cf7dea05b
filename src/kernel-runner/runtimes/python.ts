import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterpretedRuntime } from './interpreted.js';
import type { RuntimeParts } from './runtime-process.js';
import { PYTHON_DRIVER } from './python-driver.js';
import type { BuiltinCommand, Runtime } from './runtime.js';

/** Queries in one Python interpreter; `python` or the path of any interpreter from 3.8 on. */
export function pythonRuntime(path: string, parts: RuntimeParts): Runtime {
  const file = join(parts.privateDirectory, 'driver.py');
  writeFileSync(file, PYTHON_DRIVER, { mode: 0o600 });
  return new InterpretedRuntime({ name: 'python', command: path, args: [file] }, parts, (step) =>
    builtinCommand(step, path, parts.work),
  );
}

function builtinCommand(step: 'build' | 'exec', path: string, work: string): BuiltinCommand {
  if (step === 'build')
    return existsSync(join(work, 'setup.py'))
      ? { argv: [path, '-m', 'pip', 'install', '--user', '-e', '.'], batchMode: false }
      : { exitCode: 0, why: 'there is no setup.py' };
  return existsSync(join(work, 'main.py'))
    ? { argv: [path, 'main.py'], batchMode: true }
    : { exitCode: 127, why: 'cannot find the main script main.py' };
}
