import { lookup } from 'node:dns/promises';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type AgentNode, HostedAgent } from '../agent/hosted-agent.js';
import { Heartbeat } from '../agent/heartbeat.js';
import type { InstalledImages } from '../agent/installed-images.js';
import { PortPool } from '../agent/port-pool.js';
import type { KernelBackend } from '../backends/backend.js';
import {
  type AgentConfig,
  type DaemonConfig,
  type DetectedHosts,
  detectHosts,
  reportedAddresses,
  updateScalingGroup,
} from '../config/index.js';
import { localAddresses } from '../config/identity.js';
import { systemClock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import { SPOKEN_VERSION } from '../core/version.js';
import { ImageNews } from './images.js';
import { startAgentLoops } from './agent-loops.js';
import { lockHolders, startCommitReports } from './reports.js';
import type { Measuring } from './measuring.js';
import { startStatistics } from './statistics.js';
import type { NodeIdentity } from './identity.js';
import type { AgentInfo, EventSink } from '../events/catalogue.js';
import { readHomeFiles } from '../kernels/lifecycle/home-files.js';
import type { KernelLogs } from '../kernels/lifecycle/parts.js';
import type { StartGate } from '../kernels/lifecycle/start-gate.js';
import type { SessionNetworks } from '../kernels/networks/session-networks.js';
import type { NodeResources } from '../resources/index.js';
import type { AgentFactory } from '../runtime/agent-runtime.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { StateDirectory } from '../runtime/state-directory.js';
import type { RedisConnections } from '../stores/redis-connections.js';

export interface IdentifiedAgent {
  readonly id: AgentId;
  readonly config: AgentConfig;
}

const STOP_GRACE_MS = 10_000;
const READINESS_INTERVAL_MS = 300;

/** The configured agents; one without an id of its own has the id that was made up for its place at the first start. */
export async function identifyAgents(
  config: DaemonConfig,
  state: StateDirectory,
): Promise<readonly IdentifiedAgent[]> {
  const agents: IdentifiedAgent[] = [];
  for (const [position, agent] of config.agents.entries())
    agents.push({ id: agent.id ?? (await state.generatedAgentId(position)), config: agent });
  return agents;
}

/** Hosts that the file leaves empty, looked up on this machine. */
export async function hostsOf(
  config: DaemonConfig,
  view: AgentEtcdView,
  { cloudAddress }: NodeIdentity,
): Promise<DetectedHosts> {
  const hostnameAddress = await lookup(hostname(), { family: 4 }).then(
    ({ address }) => address,
    () => null,
  );
  const read = (key: string) => view.get(key, 'node');
  return detectHosts({
    rpcHost: config.rpc.listen.host,
    bindHost: config.agents[0]?.bindHost ?? '',
    agentSubnet: await read('config/network/subnet/agent'),
    containerSubnet: await read('config/network/subnet/container'),
    addresses: localAddresses(networkInterfaces()),
    hostnameAddress,
    cloudAddress,
  });
}

export interface AgentParts {
  readonly agent: IdentifiedAgent;
  readonly config: DaemonConfig;
  readonly hosts: DetectedHosts;
  readonly state: StateDirectory;
  readonly backend: KernelBackend;
  readonly resources: NodeResources;
  /** What each agent's view of the shared configuration reads: follows `update_scaling_group` at once. */
  readonly groups: Map<AgentId, string>;
  readonly installedImages: InstalledImages;
  readonly measuring: Measuring;
  readonly events: EventSink;
  /** Null with the local event bus. */
  readonly redis: RedisConnections | null;
  /** Null with the local event bus: then nobody asks for logs. */
  readonly logs: KernelLogs | null;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly starts: StartGate;
  readonly networks: SessionNetworks;
  readonly identity: NodeIdentity;
  /** Of the node's CURVE key pair; null without one. */
  readonly publicKey: string | null;
}

/** How the runtime makes one agent out of the node's parts. */
export function agentFactory(parts: AgentParts): AgentFactory {
  const { agent, config, hosts, state, backend, resources, groups, events, redis, logger, metrics } = parts;
  const { initPollingAttempts, initPollingTimeoutMs, initTimeoutMs } = agent.config.kernelLifecycles;
  const node: AgentNode = {
    hardwareInfo: () => resources.hardwareInfo(),
    gpuAllocMap: (agentId) => resources.gpuAllocMap(agentId),
    saveScalingGroup: async (agentId, group) => {
      if (config.file !== null) await updateScalingGroup(config.file, agentId, group);
      groups.set(agentId, group);
    },
  };
  return {
    id: agent.id,
    start: async () => {
      await state.kernelsDirectory(agent.id);
      const hosted = await HostedAgent.start({
        agentId: agent.id,
        backend,
        resources: resources.forAgent(agent.id),
        ports: new PortPool({
          range: [agent.config.portRange.first, agent.config.portRange.last],
          clock: systemClock,
        }),
        events,
        ...(parts.logs ? { logs: parts.logs } : {}),
        starts: parts.starts,
        networks: parts.networks,
        clock: systemClock,
        logger,
        metrics,
        node,
        commits: {
          root: config.backend === 'process' ? null : config.paths.imageCommit,
          timeoutMs: config.api.commitTimeoutMs,
          holders: await lockHolders(),
        },
        stateDirectory: join(state.layout.agentsDirectory, agent.id),
        journalDirectory: state.layout.root,
        scalingGroup: agent.config.scalingGroup,
        settings: {
          scratchRoot: agent.config.scratchRoot,
          bindHost: agent.config.bindHost === '' ? hosts.bindHost : agent.config.bindHost,
          advertisedHost: agent.config.advertisedHost,
          // A terminal on a storage node shows everybody's files.
          protectedServices: agent.config.scalingGroupType === 'storage' ? ['ttyd'] : [],
          scratchType: scratchType(agent.config),
          scratchSizeBytes: agent.config.scratchSizeBytes,
          homeFiles: await homeFilesOf(config),
          alternativeBridge: agent.config.alternativeBridge,
          socketDirectory: join(config.paths.ipcBase, 'proxy'),
          architecture: hostArchitecture(),
          kernelUid: agent.config.kernelUid,
          kernelGid: agent.config.kernelGid,
          creationConcurrency: agent.config.kernelCreationConcurrency,
          readiness: {
            attempts: initPollingAttempts,
            attemptTimeoutMs: initPollingTimeoutMs,
            totalTimeoutMs: initTimeoutMs,
            intervalMs: READINESS_INTERVAL_MS,
          },
          pullTimeoutMs: config.api.pullTimeoutMs,
          stopGraceMs: STOP_GRACE_MS,
          managerVersion: config.managerVersion,
        },
        pushTimeoutMs: config.api.pushTimeoutMs,
      });
      const news = new ImageNews({
        agentId: agent.id,
        installed: parts.installedImages,
        events,
        redis,
        logger,
      });
      const heartbeat = new Heartbeat({
        agentId: agent.id,
        kernels: hosted.kernels,
        info: () => agentInfo(parts, hosted),
        alongside: () => news.store(),
        events,
        clock: systemClock,
        logger,
        intervalMs: config.heartbeatIntervalMs,
      });
      await hosted.announce();
      const loops = startAgentLoops({ ...parts, hosted });
      const statistics = startStatistics({ ...parts, kernels: hosted.kernels });
      const commits = startCommitReports({ hosted, redis, logger });
      return {
        agent: hosted,
        stop: async () => {
          await loops.stop();
          await commits.stop();
          await statistics.stop();
          await heartbeat.stop();
          news.stop();
          await hosted.stop();
        },
      };
    },
  };
}

/** Only containers have a home of their own that a package of programs for containers belongs into. */
const homeFilesOf = ({ backend, docker }: DaemonConfig) =>
  backend === 'docker' && docker.runnerPackage !== null ? readHomeFiles(docker.runnerPackage) : [];

/** What the agent's heartbeat tells managers (spec/events-and-stores.md 4.2). */
function agentInfo(parts: AgentParts, hosted: HostedAgent): AgentInfo {
  const { agent, config, hosts, resources, identity } = parts;
  const { addr, ip, publicHost } = reportedAddresses(config, agent.config, hosts);
  const own = resources.forAgent(agent.id);
  return {
    host: ip,
    address: addr,
    region: config.region ?? identity.region,
    scalingGroup: hosted.scalingGroup,
    publicKey: parts.publicKey,
    publicHost,
    availableSlots: own.availableSlots(),
    slotTypes: own.slotTypes(),
    version: SPOKEN_VERSION[config.managerVersion],
    computePlugins: resources.computePlugins(),
    images: parts.installedImages.current ?? [],
    architecture: hostArchitecture(),
    autoTerminateAbusingKernel: agent.config.forceTerminateAbusingContainers,
  };
}

/** Without Kubernetes an NFS scratch is a directory, too (spec/kernel-lifecycle.md 2.8). */
const scratchType = ({ scratchType: type }: AgentConfig) => (type === 'k8s-nfs' ? 'hostdir' : type);

const hostArchitecture = (): string => (process.arch === 'arm64' ? 'aarch64' : 'x86_64');
