import { parseArgs } from 'node:util';

export const RUNTIMES = ['python', 'node', 'shell', 'app'] as const;
export type RuntimeType = (typeof RUNTIMES)[number];

/** What the backend tells the runner on its command line. */
export interface RunnerOptions {
  readonly replIn: string;
  readonly replOut: string;
  readonly runtime: RuntimeType;
  readonly runtimePath: string;
  readonly work: string;
  readonly config: string;
  readonly serviceDefinitions: string;
  /** Where programs for built-in services are; null: there are none, and nothing of SSH is prepared. */
  readonly helpers: string | null;
}

export const USAGE = `usage: kernel-runner --repl-in ENDPOINT --repl-out ENDPOINT --runtime ${RUNTIMES.join('|')}
                     --work DIR --config DIR [--runtime-path PATH] [--service-defs DIR]
                     [--helpers DIR]
endpoints are ipc:///path or tcp://host:port; the runner binds both`;

export class UsageError extends Error {}

const ENDPOINT = /^(ipc:\/\/\/?.+|tcp:\/\/[^:]+:(\d+|\*))$/;
/** Longest path of a UNIX socket address. */
const MAX_IPC_PATH = 107;

/** @throws UsageError that says what is wrong with which option. */
export function parseOptions(argv: readonly string[], shellExists: (path: string) => boolean): RunnerOptions {
  let values: Partial<Record<string, string>>;
  try {
    const text = { type: 'string' } as const;
    ({ values } = parseArgs({
      args: [...argv],
      strict: true,
      options: {
        'repl-in': text,
        'repl-out': text,
        runtime: text,
        'runtime-path': text,
        work: text,
        config: text,
        'service-defs': text,
        helpers: text,
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof TypeError ? error.message : String(error));
  }
  const required = (name: string): string => {
    const value = values[name];
    if (value === undefined || value === '') throw new UsageError(`--${name} is missing`);
    return value;
  };
  const endpoint = (name: string): string => {
    const value = required(name);
    if (!ENDPOINT.test(value)) throw new UsageError(`--${name}: '${value}' is no ipc:// or tcp:// endpoint`);
    if (value.startsWith('ipc://') && Buffer.byteLength(value.slice(6)) > MAX_IPC_PATH)
      throw new UsageError(
        `--${name}: the path is longer than ${String(MAX_IPC_PATH)} bytes; use a shorter one`,
      );
    return value;
  };
  const runtime = RUNTIMES.find((known) => known === required('runtime'));
  if (!runtime) throw new UsageError(`--runtime: '${required('runtime')}' is none of ${RUNTIMES.join(', ')}`);
  return {
    replIn: endpoint('repl-in'),
    replOut: endpoint('repl-out'),
    runtime,
    runtimePath: values['runtime-path'] ?? defaultPath(runtime, shellExists),
    work: required('work'),
    config: required('config'),
    serviceDefinitions: values['service-defs'] ?? '/etc/backend.ai/service-defs',
    helpers: values['helpers'] ?? null,
  };
}

function defaultPath(runtime: RuntimeType, shellExists: (path: string) => boolean): string {
  switch (runtime) {
    case 'python':
      return 'python3';
    case 'node':
      return process.execPath;
    case 'shell':
      return ['/bin/bash', '/usr/bin/bash'].find(shellExists) ?? '/bin/sh';
    case 'app':
      return '';
  }
}
