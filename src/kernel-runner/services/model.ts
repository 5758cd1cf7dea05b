import { isRecord, isTexts, parseActions } from './definition.js';
import type { ServiceDefinition } from './definition.js';
import type { HealthCheck } from './health-check.js';

/** One model of a model definition, made ready to be launched (spec/kernel-runner.md 2.5, 4.10). */
export interface ModelService {
  readonly modelName: string;
  /** `<model name>-<port>` */
  readonly serviceName: string;
  readonly directory: string;
  readonly port: number;
  readonly definition: ServiceDefinition;
  readonly healthCheck: HealthCheck | null;
}

/** @throws Error that says what is missing. */
export function parseModel(value: Readonly<Record<string, unknown>>): ModelService {
  const { name, model_path: directory, service } = value;
  if (typeof name !== 'string' || typeof directory !== 'string')
    throw new Error('a model has a name and a model_path');
  if (!isRecord(service)) throw new Error('the model has no service');
  const { start_command: command, port, shell } = service;
  if (typeof command !== 'string' && !isTexts(command)) throw new Error('the model has no start_command');
  if (typeof port !== 'number') throw new Error("the model's service has no port");
  return {
    modelName: name,
    serviceName: `${name}-${String(port)}`,
    directory,
    port,
    definition: {
      command,
      shell: typeof shell === 'string' && shell !== '' ? shell : shell === undefined ? '/bin/bash' : null,
      noop: false,
      urlTemplate: '',
      prestart: parseActions(service['pre_start_actions'] ?? []),
      env: {},
      allowedEnvs: [],
      allowedArguments: [],
      defaultArguments: {},
    },
    healthCheck: parseHealthCheck(service['health_check'], port),
  };
}

function parseHealthCheck(value: unknown, port: number): HealthCheck | null {
  if (!isRecord(value) || value['enable'] === false) return null;
  const seconds = (name: string, fallback: number) =>
    (typeof value[name] === 'number' ? value[name] : fallback) * 1000;
  const path = typeof value['path'] === 'string' ? value['path'] : '/';
  return {
    url: `http://localhost:${String(port)}${path.startsWith('/') ? path : `/${path}`}`,
    intervalMs: seconds('interval', 10),
    initialDelayMs: seconds('initial_delay', 0),
    maxWaitMs: seconds('max_wait_time', 15),
    maxRetries: typeof value['max_retries'] === 'number' ? value['max_retries'] : 10,
    expectedStatus: typeof value['expected_status_code'] === 'number' ? value['expected_status_code'] : 200,
  };
}
