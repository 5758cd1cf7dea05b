import { jest } from '@jest/globals';
import { deferred } from '../../../src/core/async.js';
import type { KernelResources } from '../../../src/kernels/lifecycle/parts.js';
import {
  type Allocation,
  CpuPlugin,
  type DevicePlugin,
  MemoryPlugin,
  MockPlugin,
  type NodeResources,
} from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { failureOf } from './amounts.js';
import {
  A,
  B,
  C,
  createNode,
  GIB,
  gpus,
  kernel,
  recordingLogger,
  request,
  sharedGpus,
  wholeGpus,
} from './test-node.js';

const INTRINSIC = [new CpuPlugin({ fixedCores: 8 }), new MemoryPlugin({ fixedBytes: 16n * GIB })];

const idsOf = (allocation: Allocation, name: string): string[] =>
  Object.values(allocation.allocations[name] ?? {}).flatMap((perDevice) => Object.keys(perDevice));

const devicesOf = (node: NodeResources, agent: typeof A, name: string): string[] =>
  Object.keys(node.forAgent(agent).usage().devices[name] ?? {});

describe('one agent', () => {
  test('allocates all or nothing, and says what is free', async () => {
    const node = await createNode([A], { plugins: [...INTRINSIC, wholeGpus(gpus(2))] });
    const agent = node.forAgent(A);
    const first = agent.allocate(kernel(1), request({ cpu: '2', 'cuda.device': '1' }));
    expect(first.slots).toEqual({ cpu: '2', mem: String(GIB), 'cuda.device': '1' });
    expect(first.allocations).toEqual({
      cuda: { 'cuda.device': { '0': '1' } },
      cpu: { cpu: { '0': '1', '1': '1' } },
      mem: { mem: { root: String(GIB) } },
    });
    const before = agent.usage();
    expect(() => agent.allocate(kernel(2), request({ cpu: '7', 'cuda.device': '1' }))).toThrow(
      "(cpu (tag: 'cpu'), allocating 7 out of 6)",
    );
    expect(agent.usage()).toEqual(before);
    expect(agent.allocationOf(kernel(2))).toBeUndefined();
    node.checkInvariants();
    agent.free(kernel(1));
    agent.free(kernel(1));
    expect(agent.usage().slots['cuda.device']).toMatchObject({ allocated: '0', free: '2' });
    node.checkInvariants();
  });

  test('a kernel is booked once', async () => {
    const node = await createNode([A, B]);
    const allocation = node.forAgent(A).allocate(kernel(1), request({}));
    const again = /kernel .*1 already has resources on agent a/;
    expect(() => node.forAgent(A).allocate(kernel(1), request({}))).toThrow(again);
    expect(() => node.forAgent(B).allocate(kernel(1), request({}))).toThrow(again);
    expect(() => {
      node.forAgent(B).restore(kernel(1), allocation);
    }).toThrow(again);
    node.forAgent(B).free(kernel(1));
    expect(node.forAgent(A).allocationOf(kernel(1))).toEqual(allocation);
  });

  test('a kernel that would get no core is refused', async () => {
    const node = await createNode([A]);
    for (const cpu of ['0', '0.9'])
      expect(failureOf(() => node.forAgent(A).allocate(kernel(1), request({ cpu })))).toBe(
        'InvalidResourceArgument',
      );
    expect(node.forAgent(A).usage().kernels).toEqual({});
  });

  test('a slot without devices is insufficient, an unknown one unsupported', async () => {
    const node = await createNode([A], { plugins: [...INTRINSIC, wholeGpus([])] });
    const ask = (slots: Record<string, string>) =>
      failureOf(() => node.forAgent(A).allocate(kernel(1), request(slots)));
    expect(ask({ 'cuda.device': '1' })).toBe('InsufficientResource');
    expect(ask({ 'rocm.device': '1' })).toBe('UnsupportedResource');
    expect(ask({ 'rocm.device': '0', 'cuda.device': '0' })).toBe('no failure');
  });

  test('fits the lifecycle', async () => {
    const node = await createNode([A], { plugins: [...INTRINSIC, sharedGpus(gpus(2))] });
    const agent: KernelResources = node.forAgent(A);
    const slots = { cpu: '2', mem: String(GIB), 'cuda.shares': '0.5' };
    const allocation = agent.allocate(kernel(1), {
      slots,
      shmemBytes: 1024n,
      allowFractionalFragmentation: false,
    });
    expect(agent.limits(allocation)).toEqual({ cpuCores: [0, 1], memoryBytes: Number(GIB), shmBytes: 1024 });
    expect(agent.environment(allocation)).toMatchObject({
      OMP_NUM_THREADS: '2',
      GPU_TYPE: 'cuda',
      GPU_MODEL_NAME: 'Mock 1000',
      GPU_CONFIG: '0:8g',
      TF_GPU_MEMORY_ALLOC: '0:8192',
      GPU_COUNT: '1',
      N_GPUS: '1',
      BACKENDAI_MOCK_CUDA_DEVICES: '1',
    });
    expect(agent.attachedDevices(allocation)).toEqual({
      cuda: [{ deviceId: '1', modelName: 'Mock 1000', data: { memBytes: 8n * GIB, smp: 16 } }],
      cpu: [
        { deviceId: '0', modelName: '', data: { cores: 2 } },
        { deviceId: '1', modelName: '', data: { cores: 2 } },
      ],
      mem: [{ deviceId: 'root', modelName: '', data: {} }],
    });
    expect(agent.resourceText(allocation, [])).toBe(
      'SCRATCH_SIZE=0m\nMOUNTS=\nSLOTS={"cpu":"2","mem":"1073741824","cuda.shares":"0.5"}\n' +
        'CUDA.SHARES_SHARES=1:0.5\nCPU_SHARES=0:1,1:1\nMEM_SHARES=root:1g\n',
    );
    expect(node.forAgent(A).deviceArguments(allocation)).toEqual({
      CpusetCpus: '0,1',
      Memory: Number(GIB) - 1024,
      MemorySwap: Number(GIB) - 1024,
      ShmSize: 1024,
    });
    expect(node.gpuAllocMap(A)).toEqual({ '1': '0.5' });
    const text = agent.resourceText(allocation, []);
    const read = { allocation: { ...allocation, shmemBytes: null }, mounts: [] };
    expect(agent.readResourceText(text)).toEqual(read);
    // Rounded as the original does it: the slot has the exact amount.
    expect(agent.readResourceText(text.replace('root:1g', 'root:1.02g'))).toEqual(read);
    expect(() => agent.readResourceText('CID=1\n')).toThrow('MOUNTS');
    // The journal is JSON.
    agent.free(kernel(1));
    const journalled = JSON.parse(JSON.stringify(allocation)) as Allocation;
    agent.restore(kernel(1), journalled);
    expect(node.forAgent(A).allocationOf(kernel(1))).toEqual(allocation);
    expect(node.gpuAllocMap(A)).toEqual({ '1': '0.5' });
  });

  test('no accelerator: counts of zero', async () => {
    const node = await createNode([A]);
    const environment = node.forAgent(A).environment(node.forAgent(A).allocate(kernel(1), request({})));
    expect(environment).toMatchObject({ GPU_COUNT: '0', N_GPUS: '0' });
    expect(environment).not.toHaveProperty('GPU_TYPE');
  });

  test('fragmentation is refused where it is not allowed', async () => {
    const node = await createNode([A], { plugins: [...INTRINSIC, sharedGpus(gpus(2))] });
    const agent = node.forAgent(A);
    agent.allocate(kernel(1), request({ 'cuda.shares': '0.8' }));
    agent.allocate(kernel(2), request({ 'cuda.shares': '0.8' }));
    const small = (allowed: boolean) => () =>
      agent.allocate(kernel(3), request({ 'cuda.shares': '0.4' }, { allowFractionalFragmentation: allowed }));
    expect(failureOf(small(false))).toBe('FractionalResourceFragmented');
    expect(small(true)().allocations['cuda']).toEqual({ 'cuda.shares': { '0': '0.2', '1': '0.2' } });
  });
});

describe('several agents', () => {
  test('SHARED: all report the node, nobody gets a core that another has', async () => {
    const node = await createNode([A, B], { reserved: { cpu: 2, memBytes: GIB } });
    for (const agent of [A, B])
      expect(node.forAgent(agent).availableSlots()).toEqual({ cpu: '6', mem: String(15n * GIB) });
    const first = node.forAgent(A).allocate(kernel(1), request({ cpu: '4' }));
    const second = node.forAgent(B).allocate(kernel(2), request({ cpu: '2' }));
    expect(new Set([...idsOf(first, 'cpu'), ...idsOf(second, 'cpu')]).size).toBe(6);
    expect(() => node.forAgent(B).allocate(kernel(3), request({ cpu: '1' }))).toThrow(
      'allocating 1 out of 0',
    );
    expect(node.forAgent(A).usage().slots['cpu']).toEqual({
      capacity: '6',
      reported: '6',
      reserved: '2',
      allocated: '4',
      allocatedBySiblings: '2',
      free: '0',
    });
    node.checkInvariants();
  });

  test('AUTO_SPLIT: five devices over three agents are 2, 2, 1, and disjoint', async () => {
    const node = await createNode([A, B, C], {
      mode: 'auto-split',
      plugins: [...INTRINSIC, wholeGpus(gpus(5))],
    });
    expect([A, B, C].map((agent) => node.forAgent(agent).availableSlots())).toEqual([
      { 'cuda.device': '2', cpu: '3', mem: '5721030656' },
      { 'cuda.device': '2', cpu: '3', mem: '5721030656' },
      { 'cuda.device': '1', cpu: '2', mem: '5721030656' },
    ]);
    expect([A, B, C].map((agent) => devicesOf(node, agent, 'cuda'))).toEqual([['0', '1'], ['2', '3'], ['4']]);
    expect(idsOf(node.forAgent(C).allocate(kernel(1), request({ 'cuda.device': '1' })), 'cpu')).toEqual([
      '6',
    ]);
    expect(failureOf(() => node.forAgent(C).allocate(kernel(2), request({ 'cuda.device': '1' })))).toBe(
      'InsufficientResource',
    );
    node.checkInvariants();
  });

  test('AUTO_SPLIT: one device for two agents', async () => {
    const whole = await createNode([A, B], {
      mode: 'auto-split',
      plugins: [...INTRINSIC, wholeGpus(gpus(1))],
    });
    expect(whole.forAgent(B).availableSlots()['cuda.device']).toBe('0');
    expect(() => whole.forAgent(B).allocate(kernel(1), request({ 'cuda.device': '1' }))).toThrow(
      'agent b has no device of this kind',
    );
    const shared = await createNode([A, B], {
      mode: 'auto-split',
      plugins: [...INTRINSIC, sharedGpus(gpus(1))],
    });
    shared.forAgent(A).allocate(kernel(1), request({ 'cuda.shares': '0.5' }));
    shared.forAgent(B).allocate(kernel(2), request({ 'cuda.shares': '0.5' }));
    expect(failureOf(() => shared.forAgent(B).allocate(kernel(3), request({ 'cuda.shares': '0.1' })))).toBe(
      'InsufficientResource',
    );
    shared.checkInvariants();
  });

  test('MANUAL by amount and by device ids', async () => {
    const node = await createNode([], {
      mode: 'manual',
      plugins: [...INTRINSIC, wholeGpus(gpus(3))],
      agents: [
        { id: A, manual: { slots: { cpu: '3', mem: '4g', 'cuda.device': '1' } } },
        { id: B, manual: { slots: { mem: '8g' }, deviceIds: { cuda: ['0', '2'], cpu: ['0', '1'] } } },
      ],
    });
    expect(node.forAgent(A).availableSlots()).toEqual({
      'cuda.device': '1',
      cpu: '3',
      mem: String(4n * GIB),
    });
    expect(node.forAgent(B).availableSlots()).toEqual({
      'cuda.device': '2',
      cpu: '2',
      mem: String(8n * GIB),
    });
    expect(devicesOf(node, A, 'cuda')).toEqual(['1']);
    expect(devicesOf(node, B, 'cuda')).toEqual(['0', '2']);
    expect(devicesOf(node, A, 'cpu')).toEqual(['2', '3', '4']);
    expect(node.forAgent(A).scalingFactor('mem')).toBe('0.25');
    node.checkInvariants();
  });

  test.each<[string, Record<string, string>, Record<string, string[]>, string]>([
    ['more than there is', { cpu: '9', mem: '1g' }, {}, 'was manually allocated 9 across all agents'],
    ['no memory', { cpu: '1' }, {}, 'slot_name=mem not found in config'],
    [
      'a device that is not there',
      { cpu: '1', mem: '1g' },
      { cpu: ['77'] },
      'no cpu device 77 on this machine',
    ],
    [
      'ids and another amount',
      { cpu: '1', mem: '1g' },
      { cpu: ['0', '1'] },
      'make 2 of cpu, but 1 is configured',
    ],
    ['no number', { cpu: 'x', mem: '1g' }, {}, 'manual allocation of agent a: not a decimal number'],
  ])('MANUAL with %s is refused', async (_, slots, deviceIds, message) => {
    const agents = [{ id: A, manual: { slots, deviceIds } }];
    await expect(createNode([], { mode: 'manual', agents })).rejects.toThrow(message);
  });

  test('MANUAL: what the original accepts, but nobody could keep', async () => {
    const manual = { slots: { cpu: '5', mem: '1g' } };
    const agents = [A, B].map((id) => ({ id, manual }));
    await expect(
      createNode([], { mode: 'manual', agents, reserved: { cpu: 2, memBytes: 0 } }),
    ).rejects.toThrow('Resource slot cpu was manually allocated 10 across all agents when the node has 8');
  });
});

describe('restoring after a restart', () => {
  test('what another kernel has is refused, naming both', async () => {
    const node = await createNode([A, B]);
    const allocation = node.forAgent(A).allocate(kernel(1), request({ cpu: '2' }));
    const before = node.forAgent(B).usage();
    expect(() => {
      node.forAgent(B).restore(kernel(2), allocation);
    }).toThrow(
      `cpu 0 cannot be booked for kernel ${kernel(2)} of agent b: kernel ${kernel(1)} of agent a already has it`,
    );
    expect(node.forAgent(B).usage()).toEqual(before);
    expect(node.forAgent(B).allocationOf(kernel(2))).toBeUndefined();
  });

  test('devices follow their kernel into another mode', async () => {
    const shared = await createNode([A, B]);
    shared.forAgent(B).allocate(kernel(1), request({ cpu: '3' }));
    const allocation = shared.forAgent(B).allocationOf(kernel(1)) as Allocation;
    const split = await createNode([A, B], { mode: 'auto-split' });
    expect(devicesOf(split, A, 'cpu')).toEqual(['0', '1', '2', '3']);
    split.forAgent(B).restore(kernel(1), allocation);
    expect(devicesOf(split, B, 'cpu')).toEqual(['0', '1', '2', '4']);
    expect(devicesOf(split, A, 'cpu')).toEqual(['3', '5', '6', '7']);
    split.checkInvariants();
    expect(idsOf(split.forAgent(A).allocate(kernel(2), request({ cpu: '4' })), 'cpu')).toEqual([
      '3',
      '5',
      '6',
      '7',
    ]);
  });

  test('a kernel keeps more than its agent now has, and gives the rest back', async () => {
    const shared = await createNode([A, B]);
    const allocation = shared.forAgent(B).allocate(kernel(1), request({ cpu: '6' }));
    const split = await createNode([A, B], { mode: 'auto-split' });
    split.forAgent(B).restore(kernel(1), allocation);
    expect(split.forAgent(A).availableSlots()['cpu']).toBe('2');
    expect(split.forAgent(B).availableSlots()['cpu']).toBe('4');
    split.checkInvariants();
    split.forAgent(B).free(kernel(1));
    expect(split.forAgent(A).availableSlots()['cpu']).toBe('4');
    split.checkInvariants();
  });

  test('a device that is gone is kept for its kernel; a family without plugin is passed over', async () => {
    const logger = recordingLogger();
    const node = await createNode([A], { plugins: [...INTRINSIC, wholeGpus(gpus(1))], logger });
    const allocation: Allocation = {
      slots: { cpu: '1', mem: '1' },
      allocations: {
        cpu: { cpu: { '99': '1' } },
        mem: { mem: { root: '1' } },
        rocm: { 'rocm.device': { '0': '1' } },
      },
    };
    node.forAgent(A).restore(kernel(1), allocation);
    node.checkInvariants();
    expect(devicesOf(node, A, 'cpu')).toContain('99');
    expect(logger.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'restored kernel has devices without a plugin' }),
    );
    expect(node.forAgent(A).limits(allocation).cpuCores).toEqual([99]);
    node.forAgent(A).free(kernel(1));
    expect(devicesOf(node, A, 'cpu')).not.toContain('99');
  });

  test('an amount of zero holds nothing', async () => {
    const node = await createNode([A]);
    const allocations = { cpu: { cpu: { '0': '1', '99': '0' } }, mem: { mem: { root: '0' } } };
    node.forAgent(A).restore(kernel(1), { slots: {}, allocations });
    node.checkInvariants();
    expect(devicesOf(node, A, 'cpu')).not.toContain('99');
    expect(node.forAgent(A).usage().slots['cpu']?.free).toBe('7');
  });

  test.each(['many', '-1'])('an amount of %s is refused', async (amount) => {
    const node = await createNode([A]);
    expect(() => {
      node.forAgent(A).restore(kernel(1), { slots: {}, allocations: { cpu: { cpu: { '0': amount } } } });
    }).toThrow(kernel(1));
    expect(node.forAgent(A).usage().slots['cpu']?.free).toBe('8');
  });
});

describe('re-scan', () => {
  test('new devices are dealt out, lost ones stay with their kernels', async () => {
    const cuda = wholeGpus(gpus(2));
    const node = await createNode([A, B], { mode: 'auto-split', plugins: [...INTRINSIC, cuda] });
    expect(await node.rescan()).toBe(false);
    node.forAgent(A).allocate(kernel(1), request({ 'cuda.device': '1' }));
    cuda.setDevices(gpus(4));
    expect(await node.rescan()).toBe(true);
    expect([A, B].map((agent) => devicesOf(node, agent, 'cuda'))).toEqual([
      ['0', '2'],
      ['1', '3'],
    ]);
    cuda.setDevices(gpus(4).slice(1));
    expect(await node.rescan()).toBe(true);
    node.checkInvariants();
    expect(node.gpuAllocMap(A)).toEqual({ '0': '1' });
    node.forAgent(A).free(kernel(1));
    node.checkInvariants();
    expect(devicesOf(node, A, 'cuda')).toEqual(['2', '3']);
    expect(devicesOf(node, B, 'cuda')).toEqual(['1']);
  });

  test('a lost device is given to nobody, in manual mode too', async () => {
    const cuda = wholeGpus(gpus(3));
    const slots = { cpu: '2', mem: '1g' };
    const node = await createNode([], {
      mode: 'manual',
      plugins: [...INTRINSIC, cuda],
      agents: [
        { id: A, manual: { slots: { ...slots, 'cuda.device': '2' } } },
        { id: B, manual: { slots, deviceIds: { cuda: ['2'] } } },
      ],
    });
    cuda.setDevices(gpus(3).slice(1, 2));
    expect(await node.rescan()).toBe(true);
    expect([A, B].map((agent) => node.forAgent(agent).availableSlots()['cuda.device'])).toEqual(['1', '0']);
    expect(devicesOf(node, A, 'cuda')).toEqual(['1']);
    node.checkInvariants();
  });

  test('a failing plugin changes nothing', async () => {
    const logger = recordingLogger();
    const cuda = wholeGpus(gpus(1));
    const node = await createNode([A], { plugins: [...INTRINSIC, cuda], logger });
    cuda.setDevices([{ deviceId: 'a:b' }]);
    expect(await node.rescan()).toBe(false);
    expect(logger.lines).toContainEqual(expect.objectContaining({ message: 'device re-scan failed' }));
    expect(node.forAgent(A).availableSlots()['cuda.device']).toBe('1');
  });

  test('a failure is said once, and that the plugin works again', async () => {
    const logger = recordingLogger();
    const cuda = wholeGpus(gpus(1));
    const node = await createNode([A], { plugins: [...INTRINSIC, cuda], logger });
    cuda.setDevices([{ deviceId: 'a:b' }]);
    for (let round = 0; round < 3; round += 1) await node.rescan();
    cuda.setDevices(gpus(2));
    expect(await node.rescan()).toBe(true);
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'device re-scan failed',
      'a device plugin works again',
      'devices changed',
    ]);
  });

  test('a plugin that hangs counts with what it found last, and the others are looked at', async () => {
    const cuda = wholeGpus(gpus(1));
    const rocm = new MockPlugin({
      key: 'rocm',
      slots: [{ slotName: 'rocm.device' }],
      allocation: { kind: 'discrete' },
      devices: gpus(1),
    });
    const node = await createNode([A], {
      plugins: [...INTRINSIC, cuda, rocm],
      pluginTimeouts: { discoverMs: 20, measureMs: 20, hardwareInfoMs: 20 },
    });
    const hanging = deferred<readonly []>();
    const discover = jest.spyOn(cuda, 'discover').mockReturnValue(hanging.promise);
    rocm.setDevices(gpus(3));
    expect(await node.rescan()).toBe(true);
    expect(node.forAgent(A).availableSlots()).toMatchObject({ 'cuda.device': '1', 'rocm.device': '3' });
    for (let round = 0; round < 5; round += 1) expect(await node.rescan()).toBe(false);
    expect(discover).toHaveBeenCalledTimes(1);
    hanging.resolve([]);
    await eventually(async () => {
      expect(await node.rescan()).toBe(true);
    });
    expect(node.forAgent(A).availableSlots()['cuda.device']).toBe('0');
  });

  test('another reserve leaves kernels what they have, and one that is too large nothing to others', async () => {
    const node = await createNode([A, B], { mode: 'auto-split' });
    node.forAgent(A).allocate(kernel(1), request({ cpu: '4' }));
    const cores = () => [A, B].map((agent) => node.forAgent(agent).availableSlots()['cpu']);
    expect(cores()).toEqual(['4', '4']);
    node.reserve({ cpu: 4, memBytes: 0 });
    node.checkInvariants();
    expect(cores()).toEqual(['2', '2']);
    expect(node.forAgent(A).allocationOf(kernel(1))?.slots['cpu']).toBe('4');
    expect(
      failureOf(() => {
        node.reserve({ cpu: 9, memBytes: 0 });
      }),
    ).toBe('InvalidResourceConfigError');
    expect(cores()).toEqual(['2', '2']);
    node.reserve({ cpu: 0, memBytes: 0 });
    node.checkInvariants();
    expect(cores()).toEqual(['4', '4']);
  });
});

describe('plugins', () => {
  const broken = (more: Partial<DevicePlugin>): DevicePlugin => ({
    key: 'npu',
    allocation: { kind: 'discrete' },
    slots: () => [{ slotName: 'npu.device', slotType: 'count' }],
    discover: () => Promise.resolve([]),
    ...more,
  });

  test('one that fails is left out, cpu and mem may not', async () => {
    const logger = recordingLogger();
    const fails = broken({ discover: () => Promise.reject(new Error('no driver')) });
    const node = await createNode([A], { plugins: [fails, ...INTRINSIC], logger });
    expect(Object.keys(node.forAgent(A).availableSlots())).toEqual(['cpu', 'mem']);
    expect(logger.lines[0]).toMatchObject({
      message: 'device plugin left out',
      fields: { error: 'no driver' },
    });
    await expect(
      createNode([A], { plugins: [broken({ ...fails, key: 'mem', slots: () => [] })] }),
    ).rejects.toThrow('no driver');
  });

  test.each<[string, DevicePlugin[], string]>([
    ['one key twice', [broken({}), broken({})], "A plugin defining the same key 'npu' already exists."],
    [
      'a slot of another family',
      [broken({ slots: () => [{ slotName: 'gpu.device', slotType: 'count' }] })],
      "Slot types defined by an accelerator plugin must be prefixed by the plugin's key.",
    ],
    ['a strange key', [broken({ key: 'N P U' })], 'lower-case letters'],
  ])('%s is fatal', async (_, plugins, message) => {
    await expect(createNode([A], { plugins: [...INTRINSIC, ...plugins] })).rejects.toThrow(message);
  });

  test('names missing in the order are told', async () => {
    const logger = recordingLogger();
    await createNode([A], { plugins: [...INTRINSIC, broken({})], logger });
    expect(logger.lines[0]).toMatchObject({ level: 'warn', fields: { deviceNames: ['npu'] } });
  });

  test('health: unknown, failing, healthy', async () => {
    const failing = broken({ hardwareInfo: () => Promise.reject(new Error('driver hangs')) });
    const node = await createNode([A], { plugins: [...INTRINSIC, failing, wholeGpus(gpus(2))] });
    expect(await node.hardwareInfo()).toEqual({
      npu: { status: 'unavailable', statusInfo: 'driver hangs', metadata: {} },
      cuda: { status: 'healthy', statusInfo: null, metadata: { devices: '2' } },
    });
    expect(Object.keys(node.computePlugins())).toEqual(['npu', 'cuda', 'cpu', 'mem']);
    expect(node.slotDescriptions().map(({ slotName }) => slotName)).toEqual([
      'npu.device',
      'cuda.device',
      'cpu',
      'mem',
    ]);
  });

  test("measures are the agent's part of the node's", async () => {
    const amounts = { value: '100', capacity: '300' };
    const measured = broken({
      measure: () =>
        Promise.resolve([
          { key: 'npu_mem', unit: 'bytes' as const, ...amounts, perDevice: { '0': amounts } },
        ]),
    });
    const failing = broken({ key: 'tpu', slots: () => [], measure: () => Promise.reject(new Error('x')) });
    const cpu = new CpuPlugin({ fixedCores: 8 });
    const mem = broken({ key: 'mem', slots: () => [] });
    const node = await createNode([A, B], { mode: 'auto-split', plugins: [cpu, mem, measured, failing] });
    expect(await node.measures(A)).toEqual([
      {
        key: 'npu_mem',
        unit: 'bytes',
        value: '50',
        capacity: '150',
        perDevice: { '0': { value: '50', capacity: '150' } },
      },
    ]);
  });

  test('all are closed, once, and each in spite of the others', async () => {
    const closed: string[] = [];
    const closing = (key: string) =>
      broken({
        key,
        slots: () => [],
        close: () => {
          closed.push(key);
          return Promise.reject(new Error('stuck'));
        },
      });
    const node = await createNode([A], { plugins: [...INTRINSIC, closing('npu'), closing('tpu')] });
    await Promise.all([node.close(), node.close()]);
    expect(closed).toEqual(['npu', 'tpu']);
  });
});

test('an unknown agent', async () => {
  const node = await createNode([A]);
  expect(() => node.forAgent(B)).toThrow('Agent ID b not in computers');
});

test('a node without agents', async () => {
  await expect(createNode([])).rejects.toThrow('no agent');
});
