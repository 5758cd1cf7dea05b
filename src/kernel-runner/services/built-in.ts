import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceDefinition } from './definition.js';
import { directService, isRecord } from './definition.js';

/** Services of every kernel, in the order of their start, with their ports (spec/kernel-runner.md 4.11). */
export const BUILT_IN = [
  { name: 'sshd', port: 2200 },
  { name: 'ttyd', port: 7681 },
] as const;
const SHELLS = ['/bin/zsh', '/bin/bash', '/bin/ash', '/bin/sh'];

/** Programs for them, which come with the original's packages; kernels have those that the operator offers. */
export interface Helpers {
  readonly directory: string;
  /** Null: there is none, so no SSH server. */
  readonly hostKey: string | null;
}

/** Undefined when the service is none of these, or its program is not there. */
export function builtInService(name: string, port: number, helpers: Helpers): ServiceDefinition | undefined {
  const program = (file: string): string | undefined => {
    const path = join(helpers.directory, file);
    return existsSync(path) ? path : undefined;
  };
  if (name === 'sshd') {
    const dropbear = program('dropbearmulti');
    return dropbear === undefined || helpers.hostKey === null
      ? undefined
      : directService([
          ...[dropbear, 'dropbear', '-r', helpers.hostKey, '-E', '-F', '-g', '-w', '-K', '15', '-I', '0'],
          ...['-p', `0.0.0.0:${String(port)}`],
        ]);
  }
  const ttyd = name === 'ttyd' ? program('ttyd') : undefined;
  const shell = SHELLS.find((path) => existsSync(path));
  if (ttyd === undefined || shell === undefined) return undefined;
  const tmux = shell.endsWith('/ash') ? undefined : program('tmux');
  return directService([
    ...[ttyd, '-W', '-p', String(port), shell],
    // A terminal that is closed and opened again shows the same session.
    ...(tmux === undefined ? [] : ['-c', `export SHELL=${shell}; exec ${tmux} -2 new-session -A -s main`]),
  ]);
}

/** Other ports than the usual ones, where kernels share the machine's network. */
export function portOf({ name, port }: (typeof BUILT_IN)[number], config: string): number {
  try {
    const ports: unknown = JSON.parse(readFileSync(join(config, 'intrinsic-ports.json'), 'utf8'));
    const own = isRecord(ports) ? ports[name] : undefined;
    return typeof own === 'number' ? own : port;
  } catch {
    return port;
  }
}
