import { join } from 'node:path';
import { AgentSocket } from '../agent-socket/agent-socket.js';
import { ContainerPids } from '../agent-socket/container-pids.js';
import type { KernelBackend } from '../backends/backend.js';
import type { DaemonConfig } from '../config/index.js';
import type { DisposalStack } from '../core/disposal.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { IdentifiedAgent } from './agents.js';
import type { AggregateKernelRegistry } from '../kernels/aggregate-kernel-registry.js';
import type { Kernel } from '../kernels/kernel.js';
import { environmentFileOf, readEnvironment } from '../metadata/environment-file.js';
import { openMetadataPlugins } from './metadata.js';
import type { StoreWait } from './store-wait.js';
import { MetadataServer } from '../metadata/metadata-server.js';
import { SnapshotSocket } from '../observe/index.js';
import type { AgentRuntime } from '../runtime/agent-runtime.js';
import { snapshotText } from '../runtime/snapshot.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { StateDirectory } from '../runtime/state-directory.js';

const SNAPSHOT_SOCKET = 'agent-registry-snapshot.sock';

/** Where the sockets of the agents are, which kernels in containers get. */
export const agentSocketsOf = ({ paths }: DaemonConfig): string => join(paths.ipcBase, 'container');

/**
 * What kernels in containers may ask of the node: the metadata server and one socket an agent. With other backends than
 * docker there is neither. Opens before the agents: kernels that still run may ask at any time.
 * @throws MetadataServerError, AgentSocketError
 */
export async function openContainerEndpoints(options: {
  readonly config: DaemonConfig;
  readonly agents: readonly IdentifiedAgent[];
  readonly backend: KernelBackend;
  readonly kernels: AggregateKernelRegistry;
  /** Where packages are found. */
  readonly cwd: string;
  readonly view: AgentEtcdView;
  readonly wait: StoreWait;
  readonly parts: DisposalStack;
  readonly logger: Logger;
}): Promise<void> {
  const { config, agents, backend, kernels, parts } = options;
  if (backend.kind !== 'docker' || !backend.kernelAt) return;
  const logger = options.logger.child({ component: 'containers' });
  const plugins = await openMetadataPlugins({ ...options, logger });
  const configOf = (id: string) => agents.find((agent) => agent.id === id)?.config;
  const metadata = await MetadataServer.open({
    host: config.metadataServer.bindHost,
    port: config.metadataServer.port,
    backend: { kernelAt: backend.kernelAt.bind(backend) },
    kernels,
    environmentOf: async (kernel: Kernel) => {
      const settings = configOf(kernel.agentId);
      return settings ? readEnvironment(environmentFileOf(kernel, settings.scratchRoot)) : null;
    },
    sandboxOf: (agentId) => configOf(agentId)?.sandboxType ?? 'docker',
    plugins,
    logger,
  });
  parts.defer('metadata server', () => metadata.close());
  for (const agent of agents) {
    const socket = await AgentSocket.open({
      agentId: agent.id,
      directory: agentSocketsOf(config),
      tcpPort: agent.config.agentSockPort,
      findContainer: (id) =>
        [...kernels].find((kernel) => kernel.agentId === agent.id && kernel.containerId?.startsWith(id))
          ?.containerId ?? null,
      pids: new ContainerPids(),
      isJailEnabled: agent.config.sandboxType === 'jail',
      logger,
    });
    parts.defer(`agent socket of ${agent.id}`, () => socket.close());
  }
}

/**
 * The debug socket: with the docker backend where the original has it, unless another daemon serves it there; else in
 * the state directory. A node works without one: null when it cannot be opened, with a word in the log.
 */
export async function openSnapshotSocket(options: {
  readonly config: DaemonConfig;
  readonly state: StateDirectory;
  readonly runtime: AgentRuntime;
  readonly logger: Logger;
}): Promise<SnapshotSocket | null> {
  const { config, state, runtime, logger } = options;
  const shared = config.backend === 'docker' ? [join(config.paths.ipcBase, SNAPSHOT_SOCKET)] : [];
  for (const place of [...shared, null])
    try {
      return await SnapshotSocket.open({
        path: place ?? state.socketPath(SNAPSHOT_SOCKET),
        text: () => snapshotText(runtime.listAgents()),
        logger,
      });
    } catch (error) {
      const fields = { error: messageOf(error) };
      if (place === null) logger.warn('there is no debug socket', fields);
      else logger.warn('the debug socket is in the state directory, not where the original has it', fields);
    }
  return null;
}
