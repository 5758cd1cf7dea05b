import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../complaint.js';
import type { Complain } from '../complaint.js';

export interface PrestartAction {
  readonly action: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly ref: string | undefined;
}

export type ArgumentValue = null | string | readonly string[];

/** A service as its image describes it (spec/kernel-runner.md 4.8). */
export interface ServiceDefinition {
  readonly command: string | readonly string[];
  readonly shell: string | null;
  readonly noop: boolean;
  readonly urlTemplate: string;
  readonly prestart: readonly PrestartAction[];
  readonly env: Readonly<Record<string, string>>;
  readonly allowedEnvs: readonly string[];
  readonly allowedArguments: readonly string[];
  readonly defaultArguments: Readonly<Record<string, ArgumentValue>>;
}

/** A service that is one command without a shell, and takes neither arguments nor variables from users. */
export const directService = (command: readonly string[]): ServiceDefinition => ({
  command,
  shell: null,
  noop: false,
  urlTemplate: '',
  prestart: [],
  env: {},
  allowedEnvs: [],
  allowedArguments: [],
  defaultArguments: {},
});

const FIELDS: readonly string[] = [
  'command',
  'shell',
  'noop',
  'url_template',
  'prestart',
  'prestart_actions',
  'env',
  'allowed_envs',
  'allowed_arguments',
  'default_arguments',
];

/** @throws Error that names the field. */
export function parseDefinition(value: unknown): ServiceDefinition {
  if (!isRecord(value)) throw new Error('a service definition is a JSON object');
  const unknown = Object.keys(value).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) throw new Error(`unknown field '${unknown}'`);
  const { command, shell } = value;
  if (typeof command !== 'string' && !isTexts(command))
    throw new Error("'command' is a text or a list of texts");
  if (shell !== undefined && shell !== null && typeof shell !== 'string')
    throw new Error("'shell' is a text");
  return {
    command,
    shell: shell === undefined ? 'bash' : shell === '' ? null : shell,
    noop: value['noop'] === true,
    urlTemplate: typeof value['url_template'] === 'string' ? value['url_template'] : '',
    prestart: parseActions(value['prestart'] ?? value['prestart_actions'] ?? []),
    env: parseTextMap(value['env'] ?? {}, 'env'),
    allowedEnvs: parseTexts(value['allowed_envs'] ?? [], 'allowed_envs'),
    allowedArguments: parseTexts(value['allowed_arguments'] ?? [], 'allowed_arguments'),
    defaultArguments: parseArguments(value['default_arguments'] ?? {}, 'default_arguments'),
  };
}

/**
 * All `*.json` of a directory, by file stem. A bad file is reported and left out: one broken service shall not keep
 * a kernel from starting. A missing directory holds none.
 */
export function loadDefinitions(directory: string, complain: Complain): Map<string, ServiceDefinition> {
  const found = new Map<string, ServiceDefinition>();
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => name.endsWith('.json'));
  } catch {
    return found;
  }
  for (const name of names) {
    try {
      found.set(
        name.slice(0, -'.json'.length),
        parseDefinition(JSON.parse(readFileSync(join(directory, name), 'utf8'))),
      );
    } catch (error) {
      complain('a service definition was left out', { file: name, error: messageOf(error) });
    }
  }
  return found;
}

export function parseArguments(value: unknown, what: string): Readonly<Record<string, ArgumentValue>> {
  if (!isRecord(value)) throw new Error(`'${what}' is an object`);
  const parsed: Record<string, ArgumentValue> = {};
  for (const [name, item] of Object.entries(value)) {
    if (item !== null && typeof item !== 'string' && !isTexts(item))
      throw new Error(`'${what}': the value of '${name}' is null, a text or a list of texts`);
    parsed[name] = item;
  }
  return parsed;
}

export function parseActions(value: unknown): readonly PrestartAction[] {
  if (!Array.isArray(value)) throw new Error("'prestart' is a list");
  return value.map((item: unknown) => {
    if (!isRecord(item) || typeof item['action'] !== 'string')
      throw new Error("'prestart': every item has an 'action'");
    const args = item['args'] ?? {};
    if (!isRecord(args)) throw new Error("'prestart': 'args' is an object");
    const ref = item['ref'];
    return { action: item['action'], args, ref: typeof ref === 'string' ? ref : undefined };
  });
}

export function parseTextMap(value: unknown, what: string): Readonly<Record<string, string>> {
  if (!isRecord(value) || !Object.values(value).every((item) => typeof item === 'string'))
    throw new Error(`'${what}' maps names to texts`);
  return value as Readonly<Record<string, string>>;
}

function parseTexts(value: unknown, what: string): readonly string[] {
  if (!isTexts(value)) throw new Error(`'${what}' is a list of texts`);
  return value;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
