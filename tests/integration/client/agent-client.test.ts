import { PeerClosedError } from '../../../src/callosum/index.js';
import { AgentClient } from '../../../src/client/agent-client.js';
import type { AgentClientOptions } from '../../../src/client/agent-client.js';
import { ConnectionPool } from '../../../src/client/connection-pool.js';
import { deferred, within } from '../../../src/core/async.js';
import { KeyError } from '../../../src/core/errors.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { PATIENT_HANDSHAKE_MS, startNode } from '../../support/rpc-server.js';
import type { TestNode } from '../../support/rpc-server.js';

const DEADLINE_MS = 20_000;
const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

async function serve(...agents: FakeAgent[]): Promise<TestNode> {
  const node = await startNode(agents);
  opened.push(node);
  return node;
}

function patientPool(): ConnectionPool {
  const pool = new ConnectionPool({ handshakeTimeoutMs: PATIENT_HANDSHAKE_MS });
  opened.push(pool);
  return pool;
}

function clientOf(node: TestNode, options: Partial<AgentClientOptions> = {}): AgentClient {
  const retries = { count: 2, firstDelayMs: 1, maxDelayMs: 1 };
  const pool = options.pool ?? patientPool();
  const client = new AgentClient({ address: node.address, retries, ...options, pool });
  opened.push(client);
  return client;
}

test('a kernel is created, seen and destroyed through the client', async () => {
  const node = await serve(new FakeAgent('i-one'), new FakeAgent('i-two'));
  const client = clientOf(node, { agentId: 'i-two' });
  await expect(client.ping('hello')).resolves.toBe('hello');
  const created = await client.createKernel({ image: 'localhost/test/python:3.11', environ: { A: 'b' } });
  expect(created.result).toMatchObject({
    container_id: `container-${created.kernelId}`,
    service_ports: [{ name: 'sshd', protocol: 'tcp' }],
    resource_spec: { slots: { cpu: '1', mem: '1073741824' }, allocations: { cpu: { cpu: { '0': '1' } } } },
  });
  await expect(client.describeKernel(created.kernelId)).resolves.toMatchObject({
    agent_id: 'i-two',
    session_id: created.sessionId,
  });
  await expect(client.withAgent('i-one').listKernels()).resolves.toEqual([]);
  await expect(client.withAgent(null).listKernels()).resolves.toHaveLength(1);
  await client.uploadFile(created.kernelId, 'a.bin', Buffer.from([0, 255]));
  await expect(client.downloadFile(created.kernelId, 'a.bin')).resolves.toEqual(Buffer.from('content'));
  await expect(client.logs(created.kernelId)).resolves.toBe('hello\n');
  await client.destroyKernel(created);
  await expect(client.listKernels()).resolves.toEqual([]);
});

test('what the other side raised is told with its class name and repr', async () => {
  const client = clientOf(await serve(new FakeAgent('i-one')));
  await expect(client.logs(KERNEL)).rejects.toMatchObject({
    code: 'REMOTE_FAILURE',
    remoteName: 'KeyError',
    remoteRepr: `KeyError('${KERNEL}')`,
  });
});

test('clients of one pool share a connection, and each sends its own agent id', async () => {
  const agents = [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;
  const node = await serve(...agents);
  const pool = patientPool();
  const clients = agents.map(({ id }) => clientOf(node, { agentId: id, pool }));
  await Promise.all(clients.map((client) => client.call('assign_port', {})));
  await Promise.all(clients.map((client) => client.call('release_port', { port_no: 30_000 })));
  expect(pool.size).toBe(1);
  for (const { calls } of agents)
    expect(calls.map(({ method }) => method)).toEqual(['assignPort', 'releasePort']);
});

describe('a limit of time', () => {
  test('ends the call with a TimeoutError and cancels it on the other side', async () => {
    const started = deferred<AbortSignal>();
    const agent = new FakeAgent('i-one', {
      pingKernel: (_kernelId, signal) => {
        started.resolve(signal);
        return new Promise(() => undefined);
      },
    });
    const client = clientOf(await serve(agent), { retries: { count: 0, firstDelayMs: 1, maxDelayMs: 1 } });
    await client.ping();
    const call = client.call('ping_kernel', { kernel_id: KERNEL }, { timeoutMs: 500 });
    await expect(call).rejects.toMatchObject({ code: 'TIMEOUT' });
    const signal = await within(started.promise, { timeoutMs: DEADLINE_MS, what: 'the call to arrive' });
    const aborted = deferred<void>();
    signal.addEventListener('abort', () => {
      aborted.resolve();
    });
    if (!signal.aborted)
      await within(aborted.promise, { timeoutMs: DEADLINE_MS, what: 'the cancellation to arrive' });
    await expect(client.ping('still')).resolves.toBe('still');
  });

  test("of the caller's signal ends it with CancelledError, and nothing is repeated", async () => {
    const started = deferred<void>();
    const controller = new AbortController();
    let calls = 0;
    const agent = new FakeAgent('i-one', {
      logs: () => {
        calls++;
        started.resolve();
        return new Promise(() => undefined);
      },
    });
    const client = clientOf(await serve(agent));
    const call = client.logs(KERNEL, { signal: controller.signal });
    await within(started.promise, { timeoutMs: DEADLINE_MS, what: 'the call to arrive' });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(calls).toBe(1);
  });
});

describe('a failed call', () => {
  const draining = () => Promise.reject(new PeerClosedError('the server is shutting down'));

  test('is repeated when its function is safe to repeat and the failure passes', async () => {
    const answers = [draining, draining, () => Promise.resolve('at last')];
    const agent = new FakeAgent('i-one', { logs: () => (answers.shift() ?? draining)() });
    await expect(clientOf(await serve(agent)).logs(KERNEL)).resolves.toBe('at last');
    expect(answers).toEqual([]);
  });

  test('is repeated only so often', async () => {
    let calls = 0;
    const agent = new FakeAgent('i-one', {
      logs: () => {
        calls++;
        return draining();
      },
    });
    await expect(clientOf(await serve(agent)).logs(KERNEL)).rejects.toMatchObject({
      remoteName: 'PeerClosedError',
    });
    expect(calls).toBe(3);
  });

  test.each<[string, (agent: FakeAgent) => Promise<never>, (client: AgentClient) => Promise<unknown>]>([
    ['whose function is not safe to repeat', draining, (client) => client.call('assign_port', {})],
    [
      'that would fail again',
      () => Promise.reject(new KeyError(KERNEL)),
      (client) => client.call('create_local_network', { network_name: 'n' }),
    ],
  ])('%s is not repeated', async (_what, fail, call) => {
    let calls = 0;
    const counted = (): Promise<never> => {
      calls++;
      return fail(agent);
    };
    const agent: FakeAgent = new FakeAgent('i-one', { assignPort: counted, createLocalNetwork: counted });
    await expect(call(clientOf(await serve(agent)))).rejects.toMatchObject({ code: 'REMOTE_FAILURE' });
    expect(calls).toBe(1);
  });
});

test('a result that is not as documented is refused', async () => {
  const logs = () => Promise.resolve(7 as unknown as string);
  const client = clientOf(await serve(new FakeAgent('i-one', { logs })));
  await expect(client.logs(KERNEL)).rejects.toMatchObject({ code: 'UNEXPECTED_RESULT' });
});

test('a client without a pool of others closes the connection that it opened', async () => {
  const node = await serve(new FakeAgent('i-one'));
  const client = new AgentClient({ address: node.address });
  opened.push(client);
  await client.ping();
  await client.close();
  await expect(client.ping()).rejects.toMatchObject({ code: 'RUNTIME' });
});
