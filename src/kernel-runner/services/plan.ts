import type { ArgumentValue, ServiceDefinition } from './definition.js';
import { messageOf } from '../complaint.js';
import { isRecord, parseArguments, parseTextMap } from './definition.js';
import type { LaunchPlan } from './launch.js';
import { interpolate, ServiceError } from './template.js';
import type { TemplateVariables } from './template.js';

export interface ServiceRequest {
  readonly name: string;
  readonly port: number;
  readonly ports: readonly number[];
  readonly protocol: string;
  readonly arguments: Readonly<Record<string, ArgumentValue>>;
  readonly envs: Readonly<Record<string, string>>;
}

/** @throws ServiceError in Python's words. */
export function parseRequest(value: Readonly<Record<string, unknown>>): ServiceRequest {
  for (const key of ['name', 'port', 'ports', 'protocol', 'options'])
    if (!(key in value)) throw new ServiceError(`KeyError('${key}')`);
  const { name, port, ports, protocol } = value;
  const options = value['options'] ?? {};
  if (typeof name !== 'string' || typeof protocol !== 'string')
    throw new ServiceError("TypeError('name and protocol are texts')");
  if (typeof port !== 'number' || !Array.isArray(ports) || !ports.every((item) => typeof item === 'number'))
    throw new ServiceError("TypeError('port is a number and ports a list of numbers')");
  if (!isRecord(options)) throw new ServiceError("TypeError('options is an object')");
  try {
    return {
      name,
      protocol,
      port,
      ports,
      arguments: parseArguments(options['arguments'] ?? {}, 'arguments'),
      envs: parseTextMap(options['envs'] ?? {}, 'envs'),
    };
  } catch (error) {
    throw new ServiceError(`TypeError("${messageOf(error)}")`);
  }
}

/**
 * Command and environment of one launch (spec/kernel-runner.md 4.8). The definition's own `env` wins over what the
 * client sets; a client may neither set a variable that exists nor one that is not allowed.
 * @throws ServiceError.
 */
export function planLaunch(
  definition: ServiceDefinition,
  request: Pick<ServiceRequest, 'name' | 'arguments' | 'envs'>,
  variables: TemplateVariables,
  base: Readonly<Record<string, string>>,
  directory: string,
): LaunchPlan {
  for (const name of Object.keys(request.arguments))
    if (!definition.allowedArguments.includes(name)) throw new ServiceError(`DisallowedArgument('${name}')`);
  for (const name of Object.keys(request.envs))
    if (!definition.allowedEnvs.includes(name) || name in base)
      throw new ServiceError(`DisallowedEnvironment('${name}')`);
  const extra = Object.entries({ ...definition.defaultArguments, ...request.arguments }).flatMap(
    ([name, value]) => [name, ...(value === null ? [] : typeof value === 'string' ? [value] : value)],
  );
  const argv = [...commandOf(definition), ...extra].map((part) => interpolate(part, variables));
  const environment: Record<string, string> = { ...serviceEnvironment(base), ...request.envs };
  for (const [name, value] of Object.entries(definition.env))
    environment[interpolate(name, variables)] = interpolate(value, variables);
  return { name: request.name, argv, environment, directory };
}

function commandOf({ command, shell }: ServiceDefinition): readonly string[] {
  if (typeof command !== 'string') return command;
  return shell === null ? splitWords(command) : [shell, '-c', command];
}

/** The runner's own libraries are none of a service's business. */
export function serviceEnvironment(base: Readonly<Record<string, string>>): Record<string, string> {
  const libraries = base['LD_LIBRARY_PATH'] ?? '';
  return { ...base, LD_LIBRARY_PATH: libraries.replaceAll('/opt/backend.ai/lib:', '') };
}

/** Words as a shell splits them: blanks separate, quotes and backslashes keep together. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  const word = /(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs;
  for (const [match] of text.matchAll(word))
    words.push(
      match.replace(
        /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
        (_, escaped?: string, double?: string, single?: string) =>
          escaped ?? (double === undefined ? (single ?? '') : double.replace(/\\(["\\$`])/g, '$1')),
      ),
    );
  return words;
}
