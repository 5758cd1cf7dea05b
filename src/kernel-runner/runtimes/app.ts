import type { OutputSink } from '../output.js';
import type { Runtime } from './runtime.js';

/** Images that only offer services: no query mode, and the built-in batch rules do nothing. */
export function appRuntime(sink: OutputSink): Runtime {
  return {
    execute: () => {
      sink.say('this kernel has no query mode: its runtime type is app');
      return Promise.resolve(127);
    },
    interrupt: () => undefined,
    complete: () => Promise.resolve([]),
    builtinCommand: () => ({ exitCode: 0, why: 'the runtime type app has no built-in commands' }),
    close: () => Promise.resolve(),
  };
}
