import { type DaemonConfig, type DetectedHosts, formatHostPort } from '../config/index.js';
import { isSpleniumError, messageOf, RuntimeError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { DaemonKeys } from './keys.js';
import type { EventSink } from '../events/catalogue.js';
import type { NodeResources } from '../resources/index.js';
import { Dispatcher } from '../rpc/dispatcher.js';
import type { Examination, NodeHealth } from '../rpc/node-services.js';
import { AgentRPCServer } from '../rpc/server.js';
import type { AgentRuntime } from '../runtime/agent-runtime.js';

/**
 * Opens the node's RPC socket in front of its agents.
 * @throws RuntimeError naming the address that cannot be listened on.
 */
export async function openRpcServer(parts: {
  readonly config: DaemonConfig;
  readonly runtime: AgentRuntime;
  readonly resources: NodeResources;
  readonly keys: DaemonKeys | null;
  readonly events: EventSink;
  readonly hosts: DetectedHosts;
  readonly health: () => NodeHealth;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): Promise<AgentRPCServer> {
  const { config, runtime, resources, keys, events, hosts, health, logger, metrics } = parts;
  const dispatcher = new Dispatcher({
    node: {
      agents: runtime,
      health,
      examine: () =>
        Promise.resolve([...examineStores(health(), config.store), ...examineNode(runtime, resources)]),
      abuseReportPath: config.abuseReportPath,
    },
    managerVersion: config.managerVersion,
    deadlines: config.deadlines,
    onAgentError: (agentId, { message, traceback }) =>
      events.publish(agentId, { name: 'agent_error', message, traceback }),
    debug: config.debugEnabled,
    logger,
    metrics,
  });
  const { maxNestingDepth, maxItems, ...peerLimits } = config.limits;
  const address = `tcp://${formatHostPort({ host: hosts.rpcHost, port: config.rpc.listen.port })}`;
  try {
    return await AgentRPCServer.open({
      address,
      dispatcher,
      ...(keys ? { curve: keys.credentials } : {}),
      limits: peerLimits,
      codecLimits: { maxDepth: maxNestingDepth, maxItems },
      logger,
      metrics,
    });
  } catch (error) {
    if (isSpleniumError(error)) throw error;
    throw new RuntimeError(
      `cannot listen on ${address}: ${messageOf(error)}; change agent.rpc-listen-addr, or stop what listens there`,
      { cause: error, details: { address } },
    );
  }
}

/** What `splenium doctor` shows of what the node depends on. */
function examineStores({ checks }: NodeHealth, store: DaemonConfig['store']): readonly Examination[] {
  return checks
    .filter(({ serviceGroup }) => serviceGroup !== 'agent')
    .map(({ serviceGroup, componentId, errorMessage, sinceMs }) => ({
      check: `${serviceGroup === 'etcd' ? store : `${serviceGroup} ${componentId}`}: it answers`,
      findings: errorMessage === null ? [] : [errorMessage],
      sinceMs,
    }));
}

/** What it shows of the books. */
function examineNode(runtime: AgentRuntime, resources: NodeResources): readonly Examination[] {
  const devices: string[] = [];
  try {
    resources.checkInvariants();
  } catch (error) {
    devices.push(messageOf(error));
  }
  return [
    { check: 'devices: allocated + free = capacity, nothing owned twice', findings: devices, sinceMs: null },
    ...runtime.listAgents().map((agent) => ({
      check: `agent ${agent.id}: whatever is held is held by a kernel of this agent`,
      findings: agent.examine(),
      sinceMs: null,
    })),
  ];
}
