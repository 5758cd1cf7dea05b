import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { verifyCurveRefusesStrangers } from '../callosum/index.js';
import {
  createDirectories,
  type DaemonConfig,
  formatProblems,
  type LoadedConfig,
  loadDummyConfig,
} from '../config/index.js';
import { InstalledImages } from '../agent/installed-images.js';
import { systemClock } from '../core/clock.js';
import { DisposalStack } from '../core/disposal.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { Questions } from '../core/questions.js';
import { agentFactory, hostsOf, identifyAgents } from './agents.js';
import { openBackend, refuseMissingBackend } from './backends.js';
import { loadDaemonKeys, operatorPublicKey } from './keys.js';
import { openSessionNetworks } from './networks.js';
import { createNodeResources } from './resources.js';
import { openContainerLogs } from './container-logs.js';
import { startCapacityScan } from './capacity-scan.js';
import { type HealthSources, nodeHealth, openHttpServer } from './health.js';
import { identifyNode } from './identity.js';
import { openContainerEndpoints, openSnapshotSocket } from './local.js';
import { Registration } from './registration.js';
import { startAbuseReports } from './reports.js';
import { openRpcServer } from './rpc.js';
import { Measuring } from './measuring.js';
import { openSurroundings } from './surroundings.js';
import { openEventBus, openKeyValueStore, waitForManager, withSharedConfig } from './stores.js';
import { StoreWait } from './store-wait.js';
import { VolumeRoot } from './volume-root.js';
import { AggregateKernelRegistry } from '../kernels/aggregate-kernel-registry.js';
import { StartGate } from '../kernels/lifecycle/start-gate.js';
import type { PrometheusMetrics } from '../observe/index.js';
import type { NodeResources } from '../resources/index.js';
import type { AgentRPCServer } from '../rpc/server.js';
import { AgentRuntime } from '../runtime/agent-runtime.js';
import { StateDirectory } from '../runtime/state-directory.js';
import { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { KeyValueStore } from '../stores/key-value-store.js';

export interface DaemonOptions {
  readonly loaded: LoadedConfig;
  /** The bundled kernel runner. */
  readonly runnerPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logger: Logger;
  readonly metrics: PrometheusMetrics;
  /** Ends a start that waits for a store or a manager. */
  readonly signal: AbortSignal;
}

const DRAIN_MS = 10_000;
/** For each thing that is measured: a mount, a kernel, a container's list of processes. */
const MEASURED_ITEM_MS = 2000;

/**
 * One node: opens its parts in order and closes them in reverse. The RPC socket opens last, when every agent has
 * brought back its kernels, and closes first.
 */
export class Daemon {
  readonly runtime: AgentRuntime;
  readonly resources: NodeResources;
  readonly #server: AgentRPCServer;
  readonly #parts: DisposalStack;

  private constructor(
    opened: Pick<Daemon, 'runtime' | 'resources'> & { readonly server: AgentRPCServer },
    parts: DisposalStack,
  ) {
    this.runtime = opened.runtime;
    this.resources = opened.resources;
    this.#server = opened.server;
    this.#parts = parts;
  }

  /**
   * Resolves once every agent can take calls and the socket is open. What had been opened is closed again on failure.
   * @throws ConfigError for a backend that is not here, and whatever keeps a part from opening.
   */
  static async open(options: DaemonOptions): Promise<Daemon> {
    refuseMissingBackend(options.loaded.config);
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
    const { logger, metrics, signal } = options;
    const local = options.loaded.config;
    const dummy = local.backend === 'dummy' ? await loadDummyConfig(options) : null;
    if (dummy && dummy.warnings.length > 0)
      logger.warn('settings of the dummy backend', { warnings: formatProblems(dummy.warnings) });
    const state = await StateDirectory.open(local.stateDir, logger);
    parts.defer('state directory', () => state.close());
    const agents = await identifyAgents(local, state);
    const wait = new StoreWait({
      signal,
      deadlineMs: local.stores.startDeadlineMs,
      clock: systemClock,
      logger,
    });
    const sources: HealthSources = {
      wait,
      serving: false,
      registration: null,
      redis: null,
      engine: null,
      eventFailure: () => null,
    };
    const health = () => nodeHealth(sources);
    // First of all: it tells what a start waits for.
    const http = await openHttpServer({ config: local, health, metrics, logger });
    if (http) parts.defer('HTTP service', () => http.close());
    const store = await openKeyValueStore(local, state.layout.root, logger);
    parts.defer('key-value store', () => store.close());
    const groups = new Map(agents.map(({ id, config }) => [id, config.scalingGroup]));
    const views = agents.map(({ id, config }) => ({
      id,
      view: viewOf(store, local, id, () => groups.get(id) ?? config.scalingGroup),
    }));
    const nodeView = views[0]?.view ?? viewOf(store, local, 'none', () => 'default');
    const { config, warnings } = await wait.until('shared configuration in etcd', () =>
      withSharedConfig(options.loaded, nodeView),
    );
    if (warnings.length > options.loaded.warnings.length)
      logger.warn('shared configuration', { warnings: formatProblems(warnings) });
    const volumeRoot = new VolumeRoot({ view: nodeView, cwd: options.cwd });
    await wait.until('the directory of volumes', () => volumeRoot.check());
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
    const identity = await identifyNode({ ...options, config });
    const hosts = await wait.until('network configuration in etcd', () =>
      hostsOf(config, nodeView, identity),
    );
    if (config.store === 'etcd' && !config.skipManagerDetection)
      await waitForManager(nodeView, { signal, logger, wait });
    const resources = await createNodeResources({ ...options, config, dummy, agents });
    parts.defer('resources', () => resources.close());
    const capacity = startCapacityScan({ resources, clock: systemClock, logger });
    parts.defer('re-scan of devices', () => capacity.stop());
    const networks = await openSessionNetworks({ ...options, config, view: nodeView, wait, parts });
    const questions = new Questions({ timeoutMs: MEASURED_ITEM_MS });
    const backend = await openBackend({
      ...options,
      questions,
      config,
      dummy,
      stateRoot: state.layout.root,
      redis: () => sources.redis,
    });
    parts.defer('backend', () => backend.close());
    const installedImages = await InstalledImages.start({
      images: backend.images,
      clock: systemClock,
      logger,
    });
    parts.defer('image scan', () => installedImages.stop());
    const { events, redis, failure } = await openEventBus({
      config,
      stateRoot: state.layout.root,
      parts,
      logger,
      metrics,
      wait,
    });
    const logs = redis && (await openContainerLogs({ ...options, config, state, events, redis }));
    if (logs) parts.defer('container logs', () => logs.close());
    sources.redis = redis;
    sources.eventFailure = failure;

    const kernels = new AggregateKernelRegistry();
    await openContainerEndpoints({
      ...options,
      config,
      agents,
      backend,
      kernels,
      view: nodeView,
      wait,
      parts,
    });
    const measuring = new Measuring({ backend, resources, questions });
    const starts = new StartGate(config.maxParallelStarts ?? 2 * availableParallelism(), metrics);
    const runtime = await AgentRuntime.create({
      kernels,
      agents: agents.map((agent) =>
        agentFactory({
          ...options,
          config,
          agent,
          identity,
          hosts,
          state,
          backend,
          resources,
          installedImages,
          measuring,
          starts,
          networks,
          groups,
          events,
          redis,
          logs,
          publicKey: keys?.publicKey ?? null,
        }),
      ),
      startFailure: config.agentStartFailure,
      logger,
    });
    parts.defer('agents', () => runtime.stop());
    const abuse = startAbuseReports({ config, agents, runtime, redis, logger });
    parts.defer('abuse reports', () => abuse.stop());

    const registration = new Registration({
      views,
      host: hosts.rpcHost,
      watcherPort: config.watcherPort,
      checkIntervalMs: config.store === 'etcd' ? config.stores.checkIntervalMs : null,
      clock: systemClock,
      logger,
      metrics,
    });
    parts.defer('registration', () => registration.close());
    sources.registration = registration;
    await registration.announce('starting');
    const server = await openRpcServer({
      config,
      runtime,
      resources,
      keys,
      events,
      hosts,
      health,
      logger,
      metrics,
    });
    parts.defer('RPC socket', () => server.close({ drainMs: DRAIN_MS }));
    if (keys)
      await verifyCurveRefusesStrangers({
        endpoint: server.endpoint,
        serverPublicKey: keys.publicKey,
        rehearsal: keys.credentials.rehearsal,
      });
    await registration.announce('running');
    const surroundings = openSurroundings({
      ...options,
      config,
      sources,
      resources,
      view: nodeView,
      backend,
      events,
      redis,
      runtime,
    });
    parts.defer('surroundings', () => surroundings.close());
    sources.serving = true;
    const snapshots = await openSnapshotSocket({ config, state, runtime, logger });
    if (snapshots) parts.defer('debug socket', () => snapshots.close());
    await state.publishEndpoint({
      rpcAddress: connectable(server.endpoint),
      serverPublicKey: keys?.publicKey ?? null,
      httpUrl: http?.url ?? null,
      snapshotSocket: snapshots?.path ?? null,
    });
    return new Daemon({ runtime, resources, server }, parts);
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

const viewOf = (
  store: KeyValueStore,
  config: DaemonConfig,
  agentId: string,
  scalingGroup: () => string,
): AgentEtcdView => new AgentEtcdView({ store, namespace: config.etcd.namespace, agentId, scalingGroup });

/** A wildcard host is reached over loopback from this machine. */
const connectable = (endpoint: string): string =>
  endpoint
    .replace(/^tcp:\/\/(0\.0\.0\.0|\*):/, 'tcp://127.0.0.1:')
    .replace(/^tcp:\/\/\[::\]:/, 'tcp://[::1]:');
