import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConfigError,
  type HostFacts,
  type LoadedConfig,
  type LoadOptions,
  loadConfig,
} from '../../../src/config/index.js';

/** A machine on which every value may stand. */
export const ROOT_HOST: HostFacts = {
  uid: 0,
  platform: 'linux',
  arch: 'x86_64',
  corePattern: '/var/crash/core.%p',
  passwd: 'root:x:0:0:root:/root:/bin/sh\nwork:x:1234:5678::/home/work:/bin/sh\n',
};

type Options = Partial<Omit<LoadOptions, 'host'>> & { readonly host?: Partial<HostFacts> };

/** Runs with a directory of its own, which is also working and home directory of what is loaded in it. */
export async function withDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'splenium-config-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

export async function loadIn(directory: string, text: string, options: Options = {}): Promise<LoadedConfig> {
  const path = join(directory, 'agent.toml');
  await writeFile(path, text);
  return loadConfig({
    path,
    env: {},
    cwd: directory,
    home: directory,
    ...options,
    host: { ...ROOT_HOST, ...options.host },
  });
}

export const load = (text: string, options: Options = {}): Promise<LoadedConfig> =>
  withDirectory((directory) => loadIn(directory, text, options));

/** `line:column key: message` of every problem; empty when the text loads. */
export async function problemsOf(text: string, options: Options = {}): Promise<string[]> {
  try {
    await load(text, options);
    return [];
  } catch (error) {
    const { problems } = error as ConfigError;
    return problems.map(
      ({ key, message, position }) =>
        `${position ? `${String(position.line)}:${String(position.column)} ` : ''}${key}: ${message}`,
    );
  }
}

/** The least that loads, followed by more tables. */
export const MINIMAL = `[agent]
backend = "process"
rpc-listen-addr = "127.0.0.1:6001"
`;
