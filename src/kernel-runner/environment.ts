import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export type Environment = Readonly<Record<string, string>>;

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Taken from the runner, empty when it has none. */
const INHERITED = ['LD_LIBRARY_PATH', 'LD_PRELOAD', 'SSH_AUTH_SOCK', 'SSH_AGENT_PID'];
const LINUXBREW = '/home/linuxbrew/.linuxbrew/bin';
const ACCELERATOR_PATHS = ['/usr/local/nvidia/bin', '/usr/local/cuda/bin'];

export interface EnvironmentSources {
  /** The runner's own environment. */
  readonly own: Readonly<Record<string, string | undefined>>;
  /** Content of `environ.txt` of the configuration directory; empty when there is none. */
  readonly environText: string;
  readonly work: string;
  readonly pathExists: (path: string) => boolean;
}

/** Environment of child processes (spec/kernel-runner.md 4.4). */
export function childEnvironment({ own, environText, work, pathExists }: EnvironmentSources): Environment {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(own)) if (value !== undefined) environment[name] = value;
  Object.assign(environment, { LANG: 'C.UTF-8', HOME: work, TERM: 'xterm' });
  for (const name of INHERITED) environment[name] = own[name] ?? '';
  environment['PATH'] ??= DEFAULT_PATH;
  environment['SHELL'] ??= pathExists('/bin/ash') ? '/bin/ash' : '/bin/bash';
  Object.assign(environment, parseEnvironText(environText));
  const promoted = [join(work, '.local/bin')];
  if (pathExists(dirname(LINUXBREW))) promoted.push(LINUXBREW);
  promoted.push(...ACCELERATOR_PATHS.filter(pathExists));
  environment['PATH'] = promote(environment['PATH'], promoted);
  return environment;
}

/** `KEY=VALUE` lines, split at the first `=`; a line without one ends the parsing, what came before counts. */
export function parseEnvironText(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const at = line.indexOf('=');
    if (at < 0) break;
    found[line.slice(0, at)] = line.slice(at + 1);
  }
  return found;
}

function promote(path: string, first: readonly string[]): string {
  const rest = path.split(':').filter((entry) => entry !== '' && !first.includes(entry));
  return [...first, ...rest].join(':');
}

/** Reads the sources as they are now; a missing configuration directory is fine. */
export function currentEnvironment(work: string, config: string): Environment {
  let environText = '';
  try {
    environText = readFileSync(join(config, 'environ.txt'), 'utf8');
  } catch {
    // No extra variables.
  }
  return childEnvironment({ own: process.env, environText, work, pathExists: existsSync });
}
