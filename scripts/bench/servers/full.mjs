// Server (a): everything a call meets in the daemon: CURVE with accepted keys, bounds, dialect codec, binding, validation,
// routing, Prometheus metrics, a logger at INFO. No file is written.
import { Dispatcher } from '../../../dist/rpc/dispatcher.js';
import { AgentRPCServer } from '../../../dist/rpc/server.js';
import { createLogger, PrometheusMetrics } from '../../../dist/observe/index.js';
import { KernelRegistry } from '../../../dist/kernels/kernel-registry.js';
import { AgentRuntime } from '../../../dist/runtime/agent-runtime.js';
import { serveLines } from '../child.mjs';

const logger = createLogger({ level: 'INFO', sink: { write: () => undefined } });
const metrics = new PrometheusMetrics({ onMisuse: () => undefined });
/** There has to be one; ping is a function of the node. */
const agent = { id: 'i-bench', kernels: new KernelRegistry('i-bench') };
const factory = { id: agent.id, start: () => Promise.resolve({ agent, stop: () => Promise.resolve() }) };
let server;
let runtime;

await serveLines(async ({ secretKey, clientPublicKey }) => {
  runtime = await AgentRuntime.create({ agents: [factory], startFailure: 'abort', logger });
  const dispatcher = new Dispatcher({
    node: {
      agents: runtime,
      health: () => Promise.reject(new Error('not measured')),
      examine: () => Promise.resolve([]),
      abuseReportPath: null,
    },
    managerVersion: '25.17',
    logger,
    metrics,
  });
  server = await AgentRPCServer.open({
    address: 'tcp://127.0.0.1:0',
    dispatcher,
    curve: { secretKey, acceptedKeys: new Set([clientPublicKey]) },
    logger,
    metrics,
  });
  return { address: server.endpoint };
});
await server?.close({ drainMs: 0 });
await runtime?.stop();
