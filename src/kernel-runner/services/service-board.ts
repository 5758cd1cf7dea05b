import { messageOf } from '../complaint.js';
import type { Complain } from '../complaint.js';
import { jsonPayload, RESPONSE } from '../messages.js';
import type { Outgoing } from '../outgoing.js';
import type { ProcessGroups } from '../process-groups.js';
import { BUILT_IN } from './built-in.js';
import type { ServiceDefinition } from './definition.js';
import { watchHealth } from './health-check.js';
import { ServiceProcess } from './launch.js';
import { parseModel } from './model.js';
import type { ModelService } from './model.js';
import { parseRequest, planLaunch } from './plan.js';
import type { ServiceRequest } from './plan.js';
import { performAction } from './prestart.js';
import { ServiceError } from './template.js';
import type { TemplateValue } from './template.js';

export interface ServiceBoardParts {
  readonly outgoing: Outgoing;
  readonly groups: ProcessGroups;
  readonly work: string;
  readonly environment: () => Readonly<Record<string, string>>;
  readonly runtimePath: string;
  readonly complain: Complain;
  readonly definitions: ReadonlyMap<string, ServiceDefinition>;
  /** An SSH server and a terminal, where there are programs for them. */
  readonly builtInServices: (name: string, port: number) => ServiceDefinition | undefined;
  /** Services of the runtime itself, such as a notebook server. */
  readonly runtimeServices: (name: string, port: number) => ServiceDefinition | undefined;
}

interface Result {
  readonly status: 'started' | 'running' | 'failed';
  readonly error?: string;
}

/** For the port of a service to open; the agent waits somewhat longer. */
export const PORT_LIMIT_MS = 30_000;
const AFTER_PORT_LIMIT_MS = 10_000;
const BUILT_IN_PORT_LIMIT_MS = 10_000;
const SHUTDOWN_GRACE_MS = 2000;
const MAX_WAITING_LAUNCHES = 128;

/**
 * Services of a kernel. Launches follow one another, so results come in the order of the requests
 * (spec/kernel-runner.md 2.3); nothing here holds up the receive loop.
 */
export class ServiceBoard {
  readonly #parts: ServiceBoardParts;
  readonly #definitions: Map<string, ServiceDefinition>;
  readonly #running = new Map<string, ServiceProcess>();
  readonly #health = new Map<string, AbortController>();
  readonly #variables = new Map<string, TemplateValue>();
  #lastLaunch: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(parts: ServiceBoardParts) {
    this.#parts = parts;
    this.#definitions = new Map(parts.definitions);
    this.#variables.set('runtime_path', parts.runtimePath);
  }

  /** Answers with exactly one `service-result`. */
  start(request: Readonly<Record<string, unknown>>): void {
    this.#enqueue(RESPONSE.serviceResult, () => this.#start(parseRequest(request)));
  }

  /** At the start of the runner, for whom there is a program; a failure is only told. */
  async startBuiltIn(name: string, port: number): Promise<void> {
    const { builtInServices, complain } = this.#parts;
    if (!builtInServices(name, port)) return;
    const request = { name, port, ports: [port], protocol: 'tcp', arguments: {}, envs: {} };
    try {
      await this.#start(request, BUILT_IN_PORT_LIMIT_MS);
    } catch (error) {
      complain('a built-in service did not start', { name, error: messageOf(error) });
    }
  }

  /** Answers with exactly one `model-service-result`; `model-service-status` may follow. */
  startModel(value: Readonly<Record<string, unknown>>): void {
    this.#enqueue(RESPONSE.modelServiceResult, async () => {
      try {
        return await this.#startModel(parseModel(value));
      } catch (error) {
        this.#parts.complain('a model service did not start', { error: messageOf(error) });
        return { status: 'failed', error: 'service failed to start' };
      }
    });
  }

  /** Ends a service, also one that is being launched; an unknown name is ignored. */
  shutdown(name: string): void {
    this.#health.get(name)?.abort();
    void this.#running.get(name)?.end(SHUTDOWN_GRACE_MS);
  }

  /** What `apps-result` lists; an empty name asks for all. */
  apps(name: string): readonly Readonly<Record<string, unknown>>[] {
    const wanted = [...this.#definitions].filter(([known]) => name === '' || known === name);
    return wanted.map(([app, { urlTemplate, allowedArguments, allowedEnvs }]) => ({
      name: app,
      ...(urlTemplate === '' ? {} : { url_template: urlTemplate }),
      ...(allowedArguments.length === 0 ? {} : { allowed_arguments: allowedArguments }),
      ...(allowedEnvs.length === 0 ? {} : { allowed_envs: allowedEnvs }),
    }));
  }

  close(): void {
    for (const watch of this.#health.values()) watch.abort();
  }

  #enqueue(reply: string, launch: () => Promise<Result>): void {
    const { outgoing } = this.#parts;
    const crowded = this.#waiting >= MAX_WAITING_LAUNCHES;
    this.#waiting += 1;
    this.#lastLaunch = this.#lastLaunch.then(async () => {
      let result: Result;
      try {
        result = crowded ? { status: 'failed', error: 'too many launches wait already' } : await launch();
      } catch (error) {
        result = {
          status: 'failed',
          error: error instanceof ServiceError ? error.message : `RuntimeError('${messageOf(error)}')`,
        };
      }
      this.#waiting -= 1;
      outgoing.post(reply, jsonPayload(result));
    });
  }

  async #start(request: ServiceRequest, portLimitMs = PORT_LIMIT_MS): Promise<Result> {
    const { name, port, protocol } = request;
    if (protocol === 'preopen') return { status: 'started' };
    if (this.#running.has(name)) return { status: 'running' };
    if (protocol === 'pty') throw new ServiceError('not implemented yet');
    const definition =
      this.#parts.builtInServices(name, port) ??
      this.#definitions.get(name) ??
      this.#parts.runtimeServices(name, port);
    if (!definition) {
      if (BUILT_IN.some((service) => service.name === name))
        throw new ServiceError(`${name} is not available in this kernel`);
      throw new ServiceError(`unsupported service: ${name}`);
    }
    if (definition.noop) return { status: 'started' };
    const process = await this.#launch(definition, request, this.#parts.work);
    if (await process.opens(port, portLimitMs)) return { status: 'started' };
    const wasAlive = process.alive;
    await process.end(AFTER_PORT_LIMIT_MS);
    throw new ServiceError(
      wasAlive
        ? `opening the service port timed out: ${name}`
        : `the process did not start properly: ${commandName(definition)}`,
    );
  }

  async #startModel(model: ModelService): Promise<Result> {
    const { serviceName, modelName, definition, directory, healthCheck } = model;
    if (this.#running.has(serviceName)) return { status: 'running' };
    const request = { name: serviceName, ports: [model.port], arguments: {}, envs: {} };
    const process = await this.#launch(definition, request, directory);
    this.#definitions.set(serviceName, definition);
    const report = (isHealthy: boolean) => {
      const status = { model_name: modelName, is_healthy: isHealthy };
      this.#parts.outgoing.post(RESPONSE.modelServiceStatus, jsonPayload(status));
    };
    // After the result, which is posted when this function has returned.
    setImmediate(() => {
      if (!healthCheck) {
        report(true);
        return;
      }
      this.#health.get(serviceName)?.abort();
      const watch = new AbortController();
      this.#health.set(serviceName, watch);
      void watchHealth(healthCheck, watch.signal, report);
      void process.exited.then(() => {
        watch.abort();
      });
    });
    return { status: 'started' };
  }

  async #launch(
    definition: ServiceDefinition,
    request: Pick<ServiceRequest, 'name' | 'ports' | 'arguments' | 'envs'>,
    directory: string,
  ): Promise<ServiceProcess> {
    const { work, complain, groups } = this.#parts;
    const environment = this.#parts.environment();
    this.#variables.set('ports', request.ports);
    for (const action of definition.prestart) {
      const result = await performAction(action, this.#variables, { work, environment, complain });
      if (action.ref !== undefined && result !== undefined) this.#variables.set(action.ref, result);
    }
    const plan = planLaunch(definition, request, this.#variables, environment, directory);
    const process = await ServiceProcess.start(plan, groups);
    this.#running.set(request.name, process);
    void process.exited.then(() => {
      if (this.#running.get(request.name) === process) this.#running.delete(request.name);
    });
    return process;
  }
}

function commandName({ command }: ServiceDefinition): string {
  return typeof command === 'string' ? command : (command[0] ?? '');
}
