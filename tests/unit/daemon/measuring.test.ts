import type { KernelBackend, KernelHandle, UsageSource } from '../../../src/backends/backend.js';
import { Questions } from '../../../src/core/questions.js';
import type { AgentId, KernelId } from '../../../src/core/ids.js';
import { Measuring } from '../../../src/daemon/measuring.js';
import type { Kernel } from '../../../src/kernels/kernel.js';
import type { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { CpuPlugin, type DevicePlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { ManualClock } from '../../support/manual-clock.js';
import { A, B, createNode, GIB, gpus, kernel, wholeGpus } from '../resources/test-node.js';

const INTERVAL_MS = 5000;

/** A registry with kernels that run; each has the process of its number. */
function registryOf(ids: readonly KernelId[]): KernelRegistry {
  const kernels = ids.map((id) => {
    const handle = { kernelId: id, containerId: `c-${id}` } as unknown as KernelHandle;
    const request = { config: { ownerUserId: null, ownerProjectId: null } };
    return {
      ...{ id, handle, request, sessionId: id, containerId: handle.containerId, allocation: null },
      state: { name: 'running' },
    } as unknown as Kernel;
  });
  return {
    [Symbol.iterator]: () => kernels[Symbol.iterator](),
    find: (id: KernelId) => kernels.find((one) => one.id === id),
  } as unknown as KernelRegistry;
}

class CountingBackend {
  readonly looks: (readonly KernelId[])[] = [];
  usageSources(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>> {
    this.looks.push(handles.map(({ kernelId }) => kernelId));
    const sources = handles.map(({ kernelId }, index): [KernelId, UsageSource] => [
      kernelId,
      { pids: [100 + index], cgroups: [] },
    ]);
    return Promise.resolve(new Map(sources));
  }
}

const INTRINSIC: readonly DevicePlugin[] = [
  new CpuPlugin({ fixedCores: 8 }),
  new MemoryPlugin({ fixedBytes: 16n * GIB }),
];

async function measuringOf(agents: ReadonlyMap<AgentId, readonly KernelId[]>, plugins = INTRINSIC) {
  const clock = new ManualClock(0);
  const read: string[] = [];
  const backend = new CountingBackend();
  const resources = await createNode([A, B], {
    plugins,
    pluginTimeouts: { discoverMs: 20, measureMs: 20, hardwareInfoMs: 20 },
  });
  const measuring = new Measuring({
    backend: backend as unknown as KernelBackend,
    resources,
    questions: new Questions({ timeoutMs: 20_000 }),
    clock,
    readText: (path) => {
      read.push(path);
      return path.endsWith('/stat')
        ? Promise.resolve('100 (x) S 1 1 1 0 0 0 0 0 0 0 500 0 0 0 20 0 1 0 5')
        : Promise.reject(new Error('ENOENT'));
    },
  });
  for (const [agentId, ids] of agents) measuring.join(agentId, registryOf(ids));
  const count = (path: string) => read.filter((one) => one === path).length;
  return { measuring, clock, backend, count };
}

test('kernels and processes of all agents cost one pass a tick', async () => {
  const agents = new Map([
    [A, [kernel(1), kernel(2)]],
    [B, [kernel(3)]],
  ]);
  const { measuring, clock, backend, count } = await measuringOf(agents);
  for (let tick = 1; tick <= 3; tick += 1) {
    // Kernels and processes of two agents.
    const readings = await Promise.all([1, 2, 3, 4].map(() => measuring.kernels(INTERVAL_MS)));
    expect(new Set(readings).size).toBe(1);
    expect([...(readings[0]?.usages.keys() ?? [])]).toEqual([kernel(1), kernel(2), kernel(3)]);
    // One that comes a little later.
    clock.advance(INTERVAL_MS / 10);
    expect(await measuring.kernels(INTERVAL_MS)).toBe(readings[0]);
    expect(backend.looks).toHaveLength(tick);
    expect(count('/proc/102/stat')).toBe(tick);
    clock.advance(INTERVAL_MS * 0.9);
  }
  measuring.leave(A);
  expect([...(await measuring.kernels(INTERVAL_MS)).usages.keys()]).toEqual([kernel(3)]);
});

test('without kernels nobody is asked where they are', async () => {
  const { measuring, backend } = await measuringOf(new Map([[A, []]]));
  expect((await measuring.kernels(INTERVAL_MS)).usages.size).toBe(0);
  expect(backend.looks).toEqual([]);
});

test('the node is read once a tick for all agents; a device plugin that hangs is asked once and delays no more', async () => {
  const asked = { cuda: 0, rocm: 0 };
  const amounts = { value: '1', capacity: '2' };
  const measures = [{ key: 'rocm_mem', unit: 'bytes' as const, ...amounts, perDevice: {} }];
  const stuck = wholeGpus(gpus(1));
  const works = { ...INTRINSIC[1], key: 'rocm', allocation: { kind: 'discrete' as const } };
  const plugins: DevicePlugin[] = [
    ...INTRINSIC,
    Object.assign(stuck, {
      measure: () => {
        asked.cuda += 1;
        return new Promise<never>(() => undefined);
      },
    }),
    {
      ...works,
      slots: () => [{ slotName: 'rocm.device', slotType: 'count' }],
      discover: () => Promise.resolve([]),
      measure: () => {
        asked.rocm += 1;
        return Promise.resolve(measures);
      },
    },
  ];
  const { measuring, clock, count } = await measuringOf(new Map([[A, []]]), plugins);
  const ticks = 200;
  for (let tick = 1; tick <= ticks; tick += 1) {
    const [one, other] = await Promise.all([measuring.node(INTERVAL_MS), measuring.node(INTERVAL_MS)]);
    expect(one).toBe(other);
    const found = Object.fromEntries(one.devices.map(({ plugin, measures: own }) => [plugin.key, own]));
    expect(found).toMatchObject({ cuda: [], rocm: measures });
    clock.advance(INTERVAL_MS);
  }
  expect(asked).toEqual({ cuda: 1, rocm: ticks });
  expect(count('/proc/stat')).toBe(ticks);
  expect(count('/proc/net/dev')).toBe(ticks);
});
