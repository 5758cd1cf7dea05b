import type { KernelBackend } from '../backends/backend.js';
import type { DaemonConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import { BackendProbe } from './backend-probe.js';
import { openServiceDiscovery } from './discovery.js';
import type { HealthSources } from './health.js';
import { PluginSettings } from './plugin-settings.js';
import { followedDevices } from './resources.js';
import { openVolumeRequests } from './volumes.js';
import type { EventSink } from '../events/catalogue.js';
import type { NodeResources } from '../resources/index.js';
import type { AgentRuntime } from '../runtime/agent-runtime.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { RedisConnections } from '../stores/redis-connections.js';

/** What this process exchanges with its surroundings besides calls and events of kernels, until it is closed. */
export function openSurroundings(parts: {
  readonly config: DaemonConfig;
  readonly sources: HealthSources;
  readonly resources: NodeResources;
  readonly view: AgentEtcdView;
  readonly backend: KernelBackend;
  readonly events: EventSink;
  readonly redis: RedisConnections | null;
  readonly runtime: AgentRuntime;
  readonly cwd: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): { close(): Promise<void> } {
  const { config, sources, view, resources, backend, runtime, logger } = parts;
  const agentIds = runtime.listAgents().map(({ id }) => id);
  const [agentId] = agentIds;
  if (agentId === undefined) return { close: () => Promise.resolve() };
  if (config.backend === 'docker') sources.engine = new BackendProbe({ backend, agentId, logger });
  // Nothing of ours is kept there, but who watches the health of an agent looks for it (spec/release-25.17.1.md).
  parts.redis?.client('bgtask');
  const volumes = openVolumeRequests({ ...parts, agentIds });
  const discovery = openServiceDiscovery({ ...parts, agentId, clock: systemClock });
  const plugins = new PluginSettings({
    group: 'accelerator',
    started: followedDevices(config, resources.pluginKeys),
    view,
    plugins: resources,
    clock: systemClock,
    logger,
  });
  return {
    close: async () => {
      for (const close of [
        () => discovery.close(),
        () => volumes?.close(),
        () => plugins.close(),
        () => sources.engine?.stop(),
      ])
        try {
          await close();
        } catch (error) {
          logger.warn('not closed in order', { error: messageOf(error) });
        }
    },
  };
}
