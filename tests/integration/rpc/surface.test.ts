import { Decimal, EnumValue, ResourceSlot } from '../../../src/codec/index.js';
import { valueOf } from '../../support/codec-values.js';
import { creationResultOf, FakeAgent } from '../../support/fake-agent.js';
import { managerTrace, shapeOf } from '../../support/manager-trace.js';
import { startNode } from '../../support/rpc-server.js';
import type { TestNode } from '../../support/rpc-server.js';
import { readVectors } from '../../support/vectors.js';

const opened: TestNode[] = [];
afterEach(async () => {
  for (const node of opened.splice(0)) await node.close();
});

async function open(...[agents, options]: Parameters<typeof startNode>): Promise<TestNode> {
  const node = await startNode(agents, options);
  opened.push(node);
  return node;
}

const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
const SECOND_KERNEL = '4e3d2c1b-0a9f-48e7-8d6c-5b4a39281706';
const SESSION = '5a4b3c2d-1e0f-4a5b-8c7d-6e5f4a3b2c1d';
const IMAGE = 'cr.backend.ai/stable/python:3.9-ubuntu20.04';
const IMAGE_REF = { canonical: IMAGE, architecture: 'x86_64', isLocal: false };
const EXECUTED = {
  runId: 'r0123456789abcdef',
  status: 'finished' as const,
  exitCode: 0,
  options: null,
  files: [],
  console: [['stdout', '2\n'] as const],
};

interface Request {
  readonly id: string;
  readonly method: string;
  readonly backendai: string;
  readonly body: { readonly args: unknown; readonly kwargs: unknown };
}

interface Expected {
  /** The call that reaches the agent; absent: none does. */
  readonly agent?: readonly [method: string, ...args: unknown[]];
  readonly result: unknown;
  /** What the 26.9 line answers instead. */
  readonly resultIn26?: unknown;
}

/** Every request of the vectors: what the agent is asked, and what the manager gets. */
const EXPECTED: Readonly<Record<string, Expected>> = {
  create_local_network: {
    agent: ['createLocalNetwork', `bai-singlenode-${SESSION}`],
    result: null,
  },
  destroy_local_network: { agent: ['destroyLocalNetwork', 'bai-singlenode-x'], result: null },
  assign_port: { agent: ['assignPort'], result: 30_000 },
  check_and_pull: {
    agent: ['checkAndPull', expect.any(Map)],
    result: { [IMAGE]: 'e1a6c13de23444afac16ed84d7f06234' },
  },
  'destroy_kernel-reason-text': {
    agent: ['destroyKernel', destroyOf(false)],
    result: null,
  },
  'destroy_kernel-reason-enum': { agent: ['destroyKernel', destroyOf(true)], result: null },
  'execute-query': {
    agent: [
      'execute',
      KERNEL,
      {
        apiVersion: 3,
        runId: 'r0123456789abcdef',
        mode: 'query',
        code: 'print(1+1)\n',
        opts: { clean: null, build: null, buildLog: false, exec: null },
        flushTimeoutMs: 2000,
      },
    ],
    result: { ...EXECUTED, console: [['stdout', '2\n']] },
  },
  'execute-continue': {
    agent: ['execute', KERNEL, expect.objectContaining({ mode: 'continue', code: '', flushTimeoutMs: null })],
    result: { ...EXECUTED, console: [['stdout', '2\n']] },
  },
  interrupt_kernel: {
    agent: ['interruptKernel', KERNEL],
    result: null,
    resultIn26: { status: 'finished' },
  },
  get_completions: {
    agent: ['complete', KERNEL, 'imp', { post: '', line: 'imp', row: 0, col: 3 }],
    result: { result: { status: 'finished', error: null, suggestions: ['import'] } },
  },
  start_service: {
    agent: ['startService', KERNEL, 'jupyter', { arguments: {}, envs: {}, port: null }],
    result: { status: 'started' },
  },
  shutdown_service: { agent: ['shutdownService', KERNEL, 'jupyter'], result: null },
  upload_file: {
    agent: ['uploadFile', KERNEL, 'a.txt', Buffer.from('hello\0world')],
    result: null,
  },
  download_file: { agent: ['downloadFile', KERNEL, 'out.txt'], result: Buffer.from('tar') },
  list_files: {
    agent: ['listFiles', KERNEL, '.'],
    result: { files: expect.stringMatching(/^\[\{.*\}\]\n$/), errors: '', abspath: '.' },
  },
  get_logs: { agent: ['logs', KERNEL], result: { logs: 'hello\n' } },
  check_running: { agent: ['isRunning', KERNEL], result: true },
  check_creating: { agent: ['isCreating', KERNEL], result: true },
  push_image: {
    agent: [
      'pushImage',
      {
        canonical: IMAGE,
        isLocal: false,
        registry: { name: 'cr.backend.ai', username: 'u', password: 'p' },
      },
    ],
    result: { bgtask_id: 'e1a6c13d-e234-44af-ac16-ed84d7f06234', canonical: IMAGE },
  },
  purge_images: {
    agent: ['purgeImages', [IMAGE], { force: true, noprune: false }],
    result: { responses: [{ image: IMAGE, error: null }] },
  },
  check_pulling: { agent: ['isPulling', IMAGE], result: false },
  'commit-to-image': {
    agent: [
      'commit',
      {
        kernelId: KERNEL,
        subdir: 'user_example.com',
        canonical: 'cr.backend.ai/user/python:3.9-ubuntu20.04-customized_0a1b2c3d',
        filename: null,
        extraLabels: {
          'ai.backend.customized-image.owner': 'user:f38dea23-50fa-42a0-b5ae-338f5f4693f4',
          'ai.backend.customized-image.name': 'mine',
          'ai.backend.customized-image.id': '0a1b2c3d',
          'ai.backend.features': 'uid-match',
          'ai.backend.customized-image.user.email': 'user@example.com',
        },
      },
    ],
    result: { bgtask_id: 'e1a6c13d-e234-44af-ac16-ed84d7f06234', kernel: KERNEL, path: null },
  },
  sync_kernel_registry: {
    agent: ['syncKernelRegistry', [{ kernelId: KERNEL, sessionId: SESSION }]],
    result: null,
  },
  trigger_batch_execution: {
    agent: [
      'triggerBatchExecution',
      { kernelId: KERNEL, sessionId: SESSION, code: 'python main.py', timeoutMs: null },
    ],
    result: null,
  },
  restart_kernel: {
    agent: [
      'restartKernel',
      { sessionId: SESSION, kernelId: KERNEL, imageRef: IMAGE_REF, updatedConfig: {} },
    ],
    result: {
      container_id: `container-${KERNEL}`,
      repl_in_port: 30_000,
      repl_out_port: 30_001,
      stdin_port: 0,
      stdout_port: 0,
      service_ports: [],
    },
  },
  scan_gpu_alloc_map: { agent: ['gpuAllocMap'], result: { '0': '0.5' } },
  get_local_config: { result: { agent: { 'abuse-report-path': '' }, watcher: {} } },
  gather_hwinfo: {
    agent: ['hardwareInfo'],
    result: { cuda: { status: 'healthy', status_info: null, metadata: { driver: '1' } } },
  },
  gather_hwinfo_v2: {
    agent: ['hardwareInfo'],
    result: {
      devices: [{ device_name: 'cuda', status: 'healthy', status_info: null, metadata: { driver: '1' } }],
    },
  },
  health_v2: { result: expect.objectContaining({ status: 'ok', component: 'agent' }) },
  drop_kernel_registry: { agent: ['dropKernelRegistry', [KERNEL, SECOND_KERNEL]], result: {} },
  purge_containers: {
    agent: ['purgeContainers', [{ containerId: 'deadbeef'.repeat(8), kernelId: KERNEL }]],
    result: {},
  },
  update_scaling_group: { agent: ['updateScalingGroup', 'gpu'], result: null },
};

function destroyOf(suppressEvents: boolean): unknown {
  return { kernelId: KERNEL, sessionId: SESSION, reason: 'user-requested', suppressEvents };
}

const { requests } = readVectors<{ requests: readonly Request[] }>('rpc-requests.json');
const { requests: creations } = readVectors<{ requests: readonly Request[] }>('create_kernels-request.json');
/** As JSON would show it: decoded maps have no prototype, and ids carry no type. */
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value) : (JSON.parse(JSON.stringify(value ?? null)) as unknown);

describe.each(['25.17', '26.8'] as const)('requests as a %s manager sends them', (line) => {
  const managerVersion = line === '25.17' ? '25.17' : '26.9';
  const ofLine = requests.filter(({ backendai }) => backendai === line);

  const known = ofLine.filter(({ method }) => method !== 'ping');
  test.each(known.map((request) => [request.id, request] as const))('%s', async (id, request) => {
    const agent = new FakeAgent('i-agent01', { execute: executed });
    const other = new FakeAgent('i-other');
    const node = await open([other, agent], { managerVersion });
    await createOn(node, 'i-agent01');
    agent.calls.length = 0;
    const expected = EXPECTED[id.replace(/@.*/, '')];
    if (!expected) throw new Error(`no expectation for ${id}`);

    const result = await node.manager.invoke(request.method, valueOf(request.body), { timeoutMs: 30_000 });

    expect(plain(result)).toEqual(
      line === '26.8' && expected.resultIn26 !== undefined ? expected.resultIn26 : expected.result,
    );
    expect(other.calls).toEqual([]);
    expect(agent.calls).toEqual(
      expected.agent ? [{ method: expected.agent[0], args: expected.agent.slice(1) }] : [],
    );

    function executed(...[kernelId, asked]: Parameters<FakeAgent['execute']>): Promise<typeof EXECUTED> {
      agent.calls.push({ method: 'execute', args: [kernelId, asked] });
      return Promise.resolve(EXECUTED);
    }
  });

  test.each(ofLine.filter(({ method }) => method === 'ping').map((r) => [r.id, r] as const))(
    '%s',
    async (_id, request) => {
      const node = await open([new FakeAgent('i-agent01')], { managerVersion });
      const { args } = request.body as { args: [string] };
      await expect(node.manager.invoke('ping', valueOf(request.body))).resolves.toBe(args[0]);
    },
  );

  const ofCreation = creations.filter(({ backendai }) => backendai === line);
  test.each(ofCreation.map((request) => [request.id, request] as const))('%s', async (_id, request) => {
    const agent = new FakeAgent('i-agent01');
    const node = await open([agent], { managerVersion });
    const [sessionId, ids] = request.body.args as [string, string[]];
    const results = (await node.manager.invoke('create_kernels', valueOf(request.body))) as {
      id: string;
      resource_spec: { slots: unknown; allocations: { cpu: Map<string, Record<string, unknown>> } };
      service_ports: { protocol: unknown }[];
    }[];
    expect(results.map(({ id }) => id)).toEqual(ids);
    expect(agent.calls).toEqual([
      {
        method: 'createKernels',
        args: [
          ids.map((kernelId): unknown =>
            expect.objectContaining({ kernelId, sessionId, imageRef: IMAGE_REF }),
          ),
        ],
      },
    ]);
    const [first] = results;
    expect(first?.resource_spec.slots).toBeInstanceOf(ResourceSlot);
    expect(first?.resource_spec.allocations.cpu.get('cpu')?.['0']).toBeInstanceOf(Decimal);
    expect(first?.service_ports.map(({ protocol }) => protocol)).toEqual([expect.any(EnumValue)]);
  });
});

/** Makes the kernel that the vectors speak of. */
async function createOn(node: TestNode, agentId: string): Promise<void> {
  const creation = creations.find(({ id }) => id === 'create_kernels-single@25.17');
  const { args } = valueOf(creation?.body) as { args: unknown[] };
  await node.call('create_kernels', args, { agent_id: agentId });
}

test('a session of a real manager is served, and each result has the shape that the original gave', async () => {
  // As the dummy backend of the original: no service ports, no mounts, no accelerators.
  const bare: FakeAgent['createKernels'] = (asked) =>
    Promise.resolve(
      asked.map((request) => {
        const result = creationResultOf(request);
        const { cpu = [], mem = [] } = result.attachedDevices;
        return {
          ...result,
          servicePorts: [],
          resourceSpec: { ...result.resourceSpec, mounts: [] },
          attachedDevices: { cpu, mem },
        };
      }),
    );
  const agents = ['i-one', 'i-two'].map((id) => new FakeAgent(id, { createKernels: bare }));
  const node = await open(agents);
  for (const { method, body, result } of managerTrace()) {
    const answer = await node.manager.invoke(method, body, { timeoutMs: 30_000 });
    expect({ method, shape: shapeOf(answer) }).toEqual({ method, shape: shapeOf(result) });
  }
  expect(agents.map(({ calls: served }) => served.map(({ method }) => method))).toEqual([
    ['checkAndPull', 'createLocalNetwork', 'destroyKernel', 'destroyKernel', 'destroyLocalNetwork'],
    ['checkAndPull', 'destroyKernel'],
  ]);
});
