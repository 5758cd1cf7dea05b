import { Peer } from '../../../src/callosum/index.js';
import { createCodec, ImageRef, Uuid } from '../../../src/codec/index.js';
import { deferred, within } from '../../../src/core/async.js';
import { RuntimeError, SpleniumError } from '../../../src/core/errors.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import type { AgentErrorReport } from '../../../src/rpc/dispatcher.js';
import { RecordedMetrics } from '../../support/callosum.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { startNode } from '../../support/rpc-server.js';
import type { TestNode } from '../../support/rpc-server.js';

const DEADLINE_MS = 20_000;
const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
const SESSION = '5a4b3c2d-1e0f-4a5b-8c7d-6e5f4a3b2c1d';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

async function open(...[agents, options]: Parameters<typeof startNode>): Promise<TestNode> {
  const node = await startNode(agents, options);
  opened.push(node);
  return node;
}

const failure = (remoteName: string, remoteRepr: unknown) => ({
  code: 'REMOTE_FAILURE',
  remoteName,
  remoteRepr,
});

describe('routing by agent_id', () => {
  const twoAgents = () => [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;

  test.each<[string, readonly unknown[], object]>([
    ['absent', [9], {}],
    ['nil', [9], { agent_id: null }],
    ['nil by position', [9, null], {}],
    ["the first agent's", [9], { agent_id: 'i-one' }],
  ])('%s goes to the first agent of the configuration', async (_what, args, kwargs) => {
    const [one, two] = twoAgents();
    const node = await open([one, two]);
    await node.call('release_port', args, kwargs);
    expect(one.calls).toEqual([{ method: 'releasePort', args: [9] }]);
    expect(two.calls).toEqual([]);
  });

  test.each<[string, readonly unknown[], object]>([
    ['by keyword', [9], { agent_id: 'i-two' }],
    ['by position', [9, 'i-two'], {}],
  ])('the second agent is reached %s', async (_what, args, kwargs) => {
    const [one, two] = twoAgents();
    const node = await open([one, two]);
    await node.call('release_port', args, kwargs);
    expect(one.calls).toEqual([]);
    expect(two.calls).toEqual([{ method: 'releasePort', args: [9] }]);
  });

  test('a call that names a kernel and no agent goes to the agent that has it', async () => {
    const [one, two] = twoAgents();
    const node = await open([one, two]);
    const kernel = Kernel.requested(two.id, kernelRequest(), 0);
    two.kernels.add(kernel);
    const args = [kernel.sessionId, kernel.id, 'make', null];
    await node.call('trigger_batch_execution', args);
    expect(two.calls.map(({ method }) => method)).toEqual(['triggerBatchExecution']);
    await node.call('trigger_batch_execution', args, { agent_id: 'i-one' });
    await node.call('trigger_batch_execution', [SESSION, KERNEL, 'make', null]);
    expect(one.calls.map(({ method }) => method)).toEqual(['triggerBatchExecution', 'triggerBatchExecution']);
  });

  const message = "Agent 'i-three' not found in this runtime. Available agents: i-one, i-two";
  test.each([
    ['25.17', `<AgentIdNotFoundError(-1): General Backend API Error. (${message})>`],
    ['26.9', `<AgentIdNotFoundError(404): Agent ID not found. (${message})>`],
  ] as const)('an unknown agent is refused in the words of %s', async (managerVersion, repr) => {
    const node = await open(twoAgents(), { managerVersion });
    const unknown = failure('AgentIdNotFoundError', repr);
    for (const [method, args] of [
      ['assign_port', []],
      ['destroy_kernel', [KERNEL, SESSION]],
      ['list_kernels', []],
      ['describe_kernel', [KERNEL]],
    ] as const)
      await expect(node.call(method, args, { agent_id: 'i-three' })).rejects.toMatchObject(unknown);
    await expect(node.call('gather_hwinfo_v2', [], { req: {}, agent_id: 'i-three' })).rejects.toMatchObject(
      unknown,
    );
    await expect(node.call('assign_port', [], { agent_id: 7 })).rejects.toMatchObject({
      remoteName: 'TypeError',
    });
  });

  test('get_local_config never looks at its agent_id', async () => {
    const node = await open(twoAgents(), {
      node: {
        agents: (await open(twoAgents())).runtime,
        health: notAsked,
        examine: notAsked,
        abuseReportPath: '/var/abuse',
      },
    });
    await expect(node.call('get_local_config', ['i-three'])).resolves.toEqual({
      agent: { 'abuse-report-path': '/var/abuse' },
      watcher: {},
    });
  });

  test.each(['ping', 'health'])('%s has no agent_id', async (method) => {
    const node = await open(twoAgents());
    const args = method === 'ping' ? ['x'] : [];
    await expect(node.call(method, args, { agent_id: 'i-one' })).rejects.toMatchObject(
      failure(
        'TypeError',
        `TypeError("AgentRPCServer.${method}() got an unexpected keyword argument 'agent_id'")`,
      ),
    );
  });
});

function notAsked(): never {
  throw new Error('not asked');
}

describe('what cannot be served is answered, and the next call is served', () => {
  test.each<[string, string, unknown, object]>([
    [
      'an unknown method',
      'no_such_method',
      { args: [], kwargs: {} },
      { code: 'REMOTE_ERROR', remoteName: 'KeyError', remoteRepr: "KeyError('no_such_method')" },
    ],
    ['a body without args', 'ping', { kwargs: {} }, failure('KeyError', "KeyError('args')")],
    ['a body without kwargs', 'ping', { args: [] }, failure('KeyError', "KeyError('kwargs')")],
    ['a body that is a number', 'ping', 7, failure('TypeError', expect.any(String))],
    [
      'a nil body for a function with parameters',
      'ping',
      null,
      failure(
        'TypeError',
        `TypeError("AgentRPCServer.ping() missing 1 required positional argument: 'msg'")`,
      ),
    ],
    [
      'too many arguments',
      'release_port',
      { args: [1, null, 2], kwargs: {} },
      failure(
        'TypeError',
        "TypeError('AgentRPCServer.release_port() takes from 2 to 3 positional arguments but 4 were given')",
      ),
    ],
    [
      'an argument given twice',
      'release_port',
      { args: [1], kwargs: { port_no: 2 } },
      failure(
        'TypeError',
        `TypeError("AgentRPCServer.release_port() got multiple values for argument 'port_no'")`,
      ),
    ],
    [
      'a keyword-only argument by position',
      'commit',
      { args: [KERNEL, 'dir', 'name:tag'], kwargs: {} },
      failure(
        'TypeError',
        "TypeError('AgentRPCServer.commit() takes 3 positional arguments but 4 were given')",
      ),
    ],
    [
      'a UUID that is none',
      'check_running',
      { args: ['not-a-uuid'], kwargs: {} },
      failure('ValueError', "ValueError('badly formed hexadecimal UUID string')"),
    ],
    [
      'an argument of another type',
      'release_port',
      { args: ['9'], kwargs: {} },
      failure('TypeError', expect.stringContaining('port_no')),
    ],
    [
      'a configuration without a key',
      'create_kernels',
      {
        args: [SESSION, [KERNEL], [{}], { network_config: {}, ssh_keypair: null }, {}],
        kwargs: {},
      },
      failure('KeyError', "KeyError('image')"),
    ],
    [
      'an unknown kernel',
      'get_logs',
      { args: [KERNEL], kwargs: {} },
      failure('KeyError', `KeyError('${KERNEL}')`),
    ],
    [
      'execution in a kernel that is not here',
      'execute',
      { args: [SESSION, KERNEL, 3, null, 'query', '1', {}, null], kwargs: {} },
      failure('RuntimeError', expect.stringContaining(`The container for kernel ${KERNEL} is not found!`)),
    ],
    [
      'a v3 call without its envelope',
      'health_v2',
      { args: [], kwargs: {} },
      failure('ValueError', `ValueError("v3 RPC body is missing the 'req' envelope field")`),
    ],
  ])('%s', async (_what, method, body, expected) => {
    const node = await open([new FakeAgent('i-one')]);
    await expect(node.manager.invoke(method, body, { timeoutMs: DEADLINE_MS })).rejects.toMatchObject(
      expected,
    );
    await expect(node.call('ping', ['still here'])).resolves.toBe('still here');
  });

  test('bytes that are no value at all', async () => {
    const node = await open([new FakeAgent('i-one')]);
    const codec = createCodec();
    const garbage = await Peer.connect({
      address: node.address,
      serializer: { pack: () => Buffer.from([0xc1, 0xff]), unpack: (bytes) => codec.unpack(bytes) },
    });
    opened.push(garbage);
    await expect(garbage.invoke('ping', null, { timeoutMs: DEADLINE_MS })).rejects.toMatchObject({
      code: 'REMOTE_ERROR',
    });
    await expect(node.call('ping', ['x'])).resolves.toBe('x');
  });

  test('a result that cannot be packed', async () => {
    const logs = () => Promise.resolve((() => undefined) as unknown as string);
    const node = await open([new FakeAgent('i-one', { logs })]);
    await expect(node.call('get_logs', [KERNEL])).rejects.toMatchObject({ code: 'REMOTE_FAILURE' });
    await expect(node.call('ping', ['x'])).resolves.toBe('x');
  });
});

describe('v3 calls', () => {
  test('take a request map with unknown keys, ignore args, and need no agent_id', async () => {
    const agent = new FakeAgent('i-one');
    const node = await open([agent], { managerVersion: '26.9' });
    const answer = await node.call('gather_hwinfo_v2', ['ignored', 1], {
      req: { later: true },
      agent_id: null,
    });
    expect(JSON.parse(JSON.stringify(answer))).toEqual({
      devices: [{ device_name: 'cuda', status: 'healthy', status_info: null, metadata: { driver: '1' } }],
    });
    await expect(node.call('health_v2', [], { req: {}, agent_id: 'i-one' })).resolves.toMatchObject({
      component: 'agent',
    });
    await expect(node.call('health_v2', [], { req: 7 })).rejects.toMatchObject({ remoteName: 'TypeError' });
  });
});

describe('differences between the lines of managers', () => {
  const ids = [KERNEL, '4e3d2c1b-0a9f-48e7-8d6c-5b4a39281706'];
  const args = [SESSION, ids, [], { network_config: {}, ssh_keypair: null }, {}];

  test('25.17 creates as many kernels as both arrays have', async () => {
    const agent = new FakeAgent('i-one');
    const node = await open([agent]);
    await expect(node.call('create_kernels', args)).resolves.toEqual([]);
    expect(agent.calls).toEqual([{ method: 'createKernels', args: [[]] }]);
  });

  test('26.9 refuses arrays of different lengths', async () => {
    const agent = new FakeAgent('i-one');
    const node = await open([agent], { managerVersion: '26.9' });
    await expect(node.call('create_kernels', args)).rejects.toMatchObject({ remoteName: 'ValueError' });
    expect(agent.calls).toEqual([]);
  });

  test.each([
    ['update_scaling_group', ['gpu']],
    ['purge_containers', [[]]],
    ['drop_kernel_registry', [[]]],
  ])('26.9 does not have %s any more', async (method, given) => {
    await expect((await open([new FakeAgent('i-one')])).call(method, given)).resolves.toEqual(
      method === 'update_scaling_group' ? null : {},
    );
    const node = await open([new FakeAgent('i-one')], { managerVersion: '26.9' });
    await expect(node.call(method, given)).rejects.toMatchObject({
      code: 'REMOTE_ERROR',
      remoteRepr: `KeyError('${method}')`,
    });
  });

  test('the time limit of a batch has the name that the line gave it, and 0 is none', async () => {
    const agents = [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;
    const batch = { session_id: SESSION, kernel_id: KERNEL, code: 'x' };
    await (await open([agents[0]])).call('trigger_batch_execution', [], { ...batch, timeout: 0 });
    const newer = await open([agents[1]], { managerVersion: '26.9' });
    await newer.call('trigger_batch_execution', [], { ...batch, timeout_seconds: 1.5 });
    expect(agents.map(({ calls }) => calls[0]?.args)).toEqual([
      [{ kernelId: KERNEL, sessionId: SESSION, code: 'x', timeoutMs: null }],
      [{ kernelId: KERNEL, sessionId: SESSION, code: 'x', timeoutMs: 1500 }],
    ]);
    await expect(newer.call('trigger_batch_execution', [], { ...batch, timeout: 1 })).rejects.toMatchObject({
      remoteName: 'TypeError',
    });
  });
});

describe('queries over all agents', () => {
  async function withKernels() {
    const agents = [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;
    const node = await open(agents);
    for (const [agent, id] of [
      ['i-one', KERNEL],
      ['i-two', '4e3d2c1b-0a9f-48e7-8d6c-5b4a39281706'],
    ] as const)
      await node.call('create_kernels', creationOf(id), { agent_id: agent });
    return { node, agents };
  }
  const owners = (kernels: unknown) =>
    (kernels as { agent_id: string; kernel_id: string }[]).map((kernel) => kernel.agent_id);

  test('list_kernels shows every kernel of the node, or those of one agent', async () => {
    const { node } = await withKernels();
    expect(owners(await node.call('list_kernels'))).toEqual(['i-one', 'i-two']);
    expect(owners(await node.call('list_kernels', [], { agent_id: null }))).toEqual(['i-one', 'i-two']);
    expect(owners(await node.call('list_kernels', [], { agent_id: 'i-two' }))).toEqual(['i-two']);
    await node.call('destroy_kernel', [KERNEL, SESSION]);
    expect(owners(await node.call('list_kernels'))).toEqual(['i-two']);
  });

  test('describe_kernel finds a kernel wherever it is, but not on a sibling of the agent that was asked', async () => {
    const { node } = await withKernels();
    await expect(node.call('describe_kernel', [KERNEL])).resolves.toMatchObject({
      agent_id: 'i-one',
      kernel_id: KERNEL,
      session_id: SESSION,
      image: 'localhost/test/python:3.11',
      resource_slots: { cpu: '1', mem: '268435456' },
    });
    await expect(node.call('describe_kernel', [KERNEL, 'i-two'])).rejects.toMatchObject(
      failure('KeyError', `KeyError('${KERNEL}')`),
    );
  });

  test('no answer shows what the creation request kept secret', async () => {
    const { node } = await withKernels();
    expect(JSON.stringify(await node.call('list_kernels'))).not.toMatch(/hunter2/);
  });
});

/** The arguments of `create_kernels` for one small kernel. */
function creationOf(kernelId: string): unknown[] {
  const config = {
    image: { canonical: 'localhost/test/python:3.11', digest: '', labels: {} },
    network_id: SESSION,
    session_type: 'interactive',
    cluster_role: 'main',
    cluster_hostname: 'main1',
    uid: null,
    main_gid: null,
    supplementary_gids: [],
    resource_slots: { cpu: '1', mem: '268435456' },
    resource_opts: {},
    environ: { TOKEN: 'hunter2' },
    mounts: [],
    internal_data: { docker_credentials: { password: 'hunter2' } },
    scaling_group: 'default',
    agent_addr: '',
  };
  const ref = new ImageRef({
    name: 'python',
    project: 'test',
    tag: '3.11',
    registry: 'localhost',
    architecture: 'x86_64',
    isLocal: true,
  });
  const refs = new Map([[new Uuid(kernelId), ref]]);
  return [SESSION, [kernelId], [config], { network_config: {}, ssh_keypair: null }, refs];
}

describe('cancelling', () => {
  test("aborts the agent's signal and is answered with CANCELLED", async () => {
    const started = deferred<AbortSignal>();
    const agent = new FakeAgent('i-one', {
      pingKernel: (_kernelId, signal) => {
        started.resolve(signal);
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        });
      },
    });
    const metrics = new RecordedMetrics();
    const reports: AgentErrorReport[] = [];
    const node = await open([agent], { metrics, onAgentError: keep(reports) });
    const controller = new AbortController();
    const call = node.manager.invoke(
      'ping_kernel',
      { args: [KERNEL], kwargs: {} },
      { signal: controller.signal },
    );
    const signal = await within(started.promise, { timeoutMs: DEADLINE_MS, what: 'the call to arrive' });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    await aborted(signal);
    await expect(node.call('ping', ['x'])).resolves.toBe('x');
    expect(
      metrics.value('backendai_rpc_failure_requests_total', {
        method: 'ping_kernel',
        exception: 'CancelledError',
      }),
    ).toBe(1);
    expect(reports).toEqual([]);
  });

  test('ends a call whose agent knows no signal, while the agent goes on', async () => {
    const started = deferred<void>();
    const finish = deferred<void>();
    const agent = new FakeAgent('i-one', {
      destroyKernel: () => {
        started.resolve();
        return finish.promise;
      },
    });
    const node = await open([agent]);
    const controller = new AbortController();
    const call = node.manager.invoke(
      'destroy_kernel',
      { args: [KERNEL, SESSION], kwargs: {} },
      { signal: controller.signal },
    );
    await within(started.promise, { timeoutMs: DEADLINE_MS, what: 'the call to arrive' });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    finish.resolve();
    await expect(node.call('ping', ['x'])).resolves.toBe('x');
  });

  test('a deadline of the server aborts the call and is a TimeoutError', async () => {
    const started = deferred<AbortSignal>();
    const agent = new FakeAgent('i-one', {
      pingKernel: (_kernelId, signal) => {
        started.resolve(signal);
        return new Promise(() => undefined);
      },
    });
    const deadlines = { defaultMs: null, byMethodMs: { ping_kernel: 500 } };
    const node = await open([agent], { deadlines });
    await expect(node.call('ping_kernel', [KERNEL])).rejects.toMatchObject({ remoteName: 'TimeoutError' });
    await aborted(await started.promise);
    await expect(node.call('ping', ['x'])).resolves.toBe('x');
  });

  test('closing the server lets a running call finish and refuses new ones', async () => {
    const started = deferred<void>();
    const finish = deferred<string>();
    const agent = new FakeAgent('i-one', {
      logs: () => {
        started.resolve();
        return finish.promise;
      },
    });
    const node = await open([agent]);
    const running = node.call('get_logs', [KERNEL]);
    await within(started.promise, { timeoutMs: DEADLINE_MS, what: 'the call to arrive' });
    const closed = node.server.close({ drainMs: DEADLINE_MS });
    await expect(node.call('ping', ['x'])).rejects.toMatchObject({ remoteName: 'PeerClosedError' });
    finish.resolve('the end');
    await expect(running).resolves.toEqual({ logs: 'the end' });
    await closed;
  });
});

async function aborted(signal: AbortSignal): Promise<void> {
  const event = deferred<void>();
  signal.addEventListener('abort', () => {
    event.resolve();
  });
  if (signal.aborted) return;
  await within(event.promise, { timeoutMs: DEADLINE_MS, what: 'the signal to abort' });
}

function keep(reports: unknown[]): (agentId: string, report: AgentErrorReport) => Promise<void> {
  return (agentId, report) => {
    reports.push([agentId, report]);
    return Promise.resolve();
  };
}

class OddError extends SpleniumError {
  override readonly code = 'ODD';
  override readonly pythonName = 'InsufficientResource';
}

describe('a failed call', () => {
  const failing = (error: Error) => new FakeAgent('i-one', { logs: () => Promise.reject(error) });

  test('is announced with the agent that it was for', async () => {
    const reports: unknown[] = [];
    const one = failing(new RuntimeError('no disk'));
    const node = await open([one, new FakeAgent('i-two')], { onAgentError: keep(reports) });
    const fails = (method: string, args: readonly unknown[], kwargs = {}) =>
      expect(node.call(method, args, kwargs)).rejects.toMatchObject({ code: 'REMOTE_FAILURE' });
    await fails('get_logs', [KERNEL]);
    await fails('get_logs', [KERNEL], { agent_id: 'i-two' });
    await fails('check_running', [], { agent_id: 'i-two' });
    await fails('ping', []);
    // Nobody is there to speak for an unknown agent, and v3 calls are not announced.
    await fails('get_logs', [KERNEL], { agent_id: 'i-three' });
    await fails('health_v2', []);
    const missing = "missing 1 required positional argument: '";
    expect(reports).toEqual([
      ['i-one', { message: 'RuntimeError: no disk', traceback: null }],
      ['i-two', { message: `KeyError: ${KERNEL}`, traceback: null }],
      [
        'i-two',
        { message: `TypeError: AgentRPCServer.check_running() ${missing}kernel_id'`, traceback: null },
      ],
      ['i-one', { message: `TypeError: AgentRPCServer.ping() ${missing}msg'`, traceback: null }],
    ]);
  });

  test('is answered with its own error although announcing it fails', async () => {
    const logger = new RecordedLog();
    const node = await open([failing(new RuntimeError('no disk'))], {
      logger,
      onAgentError: () => Promise.reject(new Error('the broker is away')),
    });
    await expect(node.call('get_logs', [KERNEL])).rejects.toMatchObject(
      failure('RuntimeError', "RuntimeError('no disk')"),
    );
    expect(logger.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', fields: { agentId: 'i-one', error: 'the broker is away' } }),
    );
  });

  test.each([
    ['error', new Error('surprise')],
    ['warn', new RuntimeError('no disk')],
    ['debug', new OddError('no cpu left')],
  ])('is logged at level %s for what it means', async (level, error) => {
    const logger = new RecordedLog();
    const node = await open([failing(error)], { logger });
    const body = { args: [KERNEL], kwargs: {}, metadata: { request_id: 'req-7', user: null } };
    await expect(node.manager.invoke('get_logs', body)).rejects.toMatchObject({ code: 'REMOTE_FAILURE' });
    expect(logger.lines).toEqual([
      {
        level,
        message: 'call failed',
        fields: expect.objectContaining({
          method: 'get_logs',
          agentId: 'i-one',
          requestId: 'req-7',
          peer: expect.stringMatching(/^00[0-9a-f]{8}$/),
          ms: expect.any(Number),
          error: error.message,
        }),
      },
    ]);
  });

  test('shows no file path, except in debug mode', async () => {
    const traceback = async (debug: boolean) => {
      const node = await open([failing(new Error('surprise'))], { debug });
      return await node.call('get_logs', [KERNEL]).then(
        () => '',
        (error: unknown) => (error as { remoteTraceback: string }).remoteTraceback,
      );
    };
    await expect(traceback(false)).resolves.toBe(
      'Traceback (most recent call last):\nRuntimeError: surprise\n',
    );
    await expect(traceback(true)).resolves.toMatch(/\.ts/);
  });

  test('is counted under its method and exception; a method that does not exist makes no series', async () => {
    const metrics = new RecordedMetrics();
    const node = await open([failing(new RuntimeError('no disk'))], { metrics });
    await node.call('ping', ['x']);
    for (const [method, args] of [
      ['get_logs', [KERNEL]],
      ['made_up_1', []],
      ['made_up_2', []],
    ] as const)
      await expect(node.call(method, args)).rejects.toBeDefined();
    const requests = (method: string) => metrics.value('backendai_rpc_requests_total', { method });
    expect([requests('ping'), requests('get_logs'), requests('(unknown)')]).toEqual([1, 1, 2]);
    expect(requests('made_up_1')).toBe(0);
    const failures = (method: string, exception: string) =>
      metrics.value('backendai_rpc_failure_requests_total', { method, exception });
    expect(failures('get_logs', 'RuntimeError')).toBe(1);
    expect(failures('(unknown)', 'KeyError')).toBe(2);
  });
});
