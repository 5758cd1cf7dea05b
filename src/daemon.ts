import { dirname, join } from 'node:path';
import { ProcessBackend } from './backends/process/index.js';
import { verifyCurveRefusesStrangers } from './callosum/index.js';
import { ConfigError, createDirectories, type DaemonConfig } from './config/index.js';
import { systemClock } from './core/clock.js';
import { DisposalStack } from './core/disposal.js';
import { messageOf } from './core/errors.js';
import type { AgentId } from './core/ids.js';
import type { Logger } from './core/logger.js';
import { agentFactory, hostsOf, identifyAgents } from './daemon-agents.js';
import { loadDaemonKeys, operatorPublicKey } from './daemon-keys.js';
import { createNodeResources } from './daemon-resources.js';
import { openRpcServer } from './daemon-rpc.js';
import { LocalEventBus } from './events/local-event-bus.js';
import type { PrometheusMetrics } from './observe/index.js';
import type { NodeResources } from './resources/index.js';
import type { AgentRPCServer } from './rpc/server.js';
import { AgentRuntime } from './runtime/agent-runtime.js';
import { StateDirectory } from './runtime/state-directory.js';

export interface DaemonOptions {
  readonly config: DaemonConfig;
  /** The bundled kernel runner. */
  readonly runnerPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logger: Logger;
  readonly metrics: PrometheusMetrics;
}

const DRAIN_MS = 10_000;

/**
 * One node: opens its parts in order and closes them in reverse. The RPC socket opens last, when every agent has
 * brought back its kernels, and closes first.
 */
export class Daemon {
  readonly runtime: AgentRuntime;
  readonly resources: NodeResources;
  readonly events: LocalEventBus;
  readonly #server: AgentRPCServer;
  readonly #parts: DisposalStack;

  private constructor(
    opened: Pick<Daemon, 'runtime' | 'resources' | 'events'> & { readonly server: AgentRPCServer },
    parts: DisposalStack,
  ) {
    this.runtime = opened.runtime;
    this.resources = opened.resources;
    this.events = opened.events;
    this.#server = opened.server;
    this.#parts = parts;
  }

  /**
   * Resolves once every agent can take calls and the socket is open. What had been opened is closed again on failure.
   * @throws ConfigError for parts that this release does not have, and whatever keeps a part from opening.
   */
  static async open(options: DaemonOptions): Promise<Daemon> {
    refuseUnbuilt(options.config);
    const parts = new DisposalStack();
    try {
      return await Daemon.#open(options, parts);
    } catch (error) {
      await parts.close().catch((closing: unknown) => {
        options.logger.error('closing after a failed start', { error: messageOf(closing) });
      });
      throw error;
    }
  }

  static async #open(options: DaemonOptions, parts: DisposalStack): Promise<Daemon> {
    const { config, logger, metrics } = options;
    const state = await StateDirectory.open(config.stateDir, logger);
    parts.defer('state directory', () => state.close());
    await createDirectories(config);
    const operator = await operatorPublicKey(
      dirname(state.layout.operatorKeyFile),
      state.layout.operatorKeyFile,
    );
    const keys = await loadDaemonKeys(config.rpc, operator, logger);
    if (keys)
      parts.defer('accepted keys', () => {
        keys.close();
      });
    const agents = await identifyAgents(config, state);
    const hosts = await hostsOf(config);
    const resources = await createNodeResources({ ...options, agents });
    parts.defer('resources', () => resources.close());
    const backend = new ProcessBackend({
      stateDir: join(state.layout.root, 'process'),
      runnerPath: options.runnerPath,
      ...(options.env['XDG_RUNTIME_DIR'] === undefined ? {} : { runtimeDir: options.env['XDG_RUNTIME_DIR'] }),
      logger: logger.child({ component: 'process-backend' }),
    });
    await backend.open();
    parts.defer('backend', () => backend.close());

    const events = new LocalEventBus({ clock: systemClock });
    const factories = agents.map((agent) =>
      agentFactory({ ...options, agent, hosts, state, backend, resources, events }),
    );
    const runtime = await AgentRuntime.create({
      agents: factories,
      startFailure: config.agentStartFailure,
      logger,
    });
    parts.defer('agents', () => runtime.stop());

    const server = await openRpcServer({ config, runtime, resources, keys, events, hosts, logger, metrics });
    parts.defer('RPC socket', () => server.close({ drainMs: DRAIN_MS }));
    if (keys)
      await verifyCurveRefusesStrangers({ endpoint: server.endpoint, serverPublicKey: keys.publicKey });
    await state.publishEndpoint({
      rpcAddress: connectable(server.endpoint),
      serverPublicKey: keys?.publicKey ?? null,
      httpUrl: null,
    });
    return new Daemon({ runtime, resources, events, server }, parts);
  }

  /** With the port that the system chose. */
  get endpoint(): string {
    return this.#server.endpoint;
  }

  get agentIds(): readonly AgentId[] {
    return this.runtime.listAgents().map(({ id }) => id);
  }

  /** Drains calls, lets go of everything; kernels go on running. Idempotent. */
  close(): Promise<void> {
    return this.#parts.close();
  }
}

/** What the configuration may ask for and this release does not have. */
function refuseUnbuilt(config: DaemonConfig): void {
  const origin = config.file ?? 'configuration';
  const problems = [
    config.backend === 'process' ? null : { key: 'agent.backend', message: `'${config.backend}'` },
    config.store === 'file' ? null : { key: 'splenium.store', message: `'${config.store}'` },
    config.eventBus === 'local' ? null : { key: 'splenium.event-bus', message: `'${config.eventBus}'` },
  ].flatMap((problem) =>
    problem ? [{ ...problem, message: `${problem.message} is not part of this release yet`, origin }] : [],
  );
  if (problems.length > 0) throw new ConfigError(problems);
}

/** A wildcard host is reached over loopback from this machine. */
const connectable = (endpoint: string): string =>
  endpoint
    .replace(/^tcp:\/\/(0\.0\.0\.0|\*):/, 'tcp://127.0.0.1:')
    .replace(/^tcp:\/\/\[::\]:/, 'tcp://[::1]:');
