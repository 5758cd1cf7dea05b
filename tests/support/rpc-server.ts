import { Peer } from '../../src/callosum/index.js';
import { createCodec } from '../../src/codec/index.js';
import { Dispatcher } from '../../src/rpc/dispatcher.js';
import type { DispatcherOptions } from '../../src/rpc/dispatcher.js';
import type { NodeHealth } from '../../src/rpc/node-services.js';
import { AgentRPCServer } from '../../src/rpc/server.js';
import type { AgentRPCServerOptions } from '../../src/rpc/server.js';
import { AgentRuntime, type AgentFactory } from '../../src/runtime/agent-runtime.js';
import { silentLogger } from '../../src/core/logger.js';

export interface TestNode {
  readonly runtime: AgentRuntime;
  readonly server: AgentRPCServer;
  readonly address: string;
  /** A plain peer that calls like a manager: `call('ping', ['x'])`. */
  readonly call: (method: string, args?: readonly unknown[], kwargs?: object) => Promise<unknown>;
  readonly manager: Peer;
  close(): Promise<void>;
}

/** A machine under load may take long to connect to itself. */
export const PATIENT_HANDSHAKE_MS = 20_000;

export const HEALTH: NodeHealth = {
  status: 'ok',
  version: '0.1.0',
  checks: [
    {
      serviceGroup: 'etcd',
      componentId: 'etcd',
      isHealthy: true,
      lastCheckedAtMs: 1_700_000_000_000,
      errorMessage: null,
      sinceMs: null,
    },
  ],
  measuredAtMs: 1_700_000_000_000,
};

/** A server over a real socket in front of these agents, with one connected peer. */
export async function startNode(
  agents: readonly { factory(): AgentFactory }[],
  options: Partial<DispatcherOptions & Pick<AgentRPCServerOptions, 'limits' | 'curve'>> = {},
): Promise<TestNode> {
  const runtime = await AgentRuntime.create({
    agents: agents.map((agent) => agent.factory()),
    startFailure: 'abort',
    logger: silentLogger,
  });
  const { limits, curve, ...rest } = options;
  const dispatcher = new Dispatcher({
    managerVersion: '25.17',
    node: {
      agents: runtime,
      health: () => HEALTH,
      examine: () => Promise.resolve([]),
      abuseReportPath: null,
    },
    ...rest,
  });
  const server = await AgentRPCServer.open({
    address: 'tcp://127.0.0.1:0',
    dispatcher,
    ...(limits && { limits }),
    ...(curve && { curve }),
  });
  const manager = await Peer.connect({
    address: server.endpoint,
    serializer: createCodec(),
    handshakeTimeoutMs: PATIENT_HANDSHAKE_MS,
  });
  return {
    runtime,
    server,
    manager,
    address: server.endpoint,
    call: (method, args = [], kwargs = {}) => manager.invoke(method, { args, kwargs }, { timeoutMs: 30_000 }),
    close: async () => {
      await manager.close();
      await server.close({ drainMs: 0 });
      await runtime.stop();
    },
  };
}
