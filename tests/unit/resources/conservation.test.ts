import type { AgentId, KernelId } from '../../../src/core/ids.js';
import {
  type Allocation,
  CpuPlugin,
  MemoryPlugin,
  type MockDevice,
  type NodeResources,
} from '../../../src/resources/index.js';
import { Decimal } from '../../../src/resources/quantity/decimal.js';
import { A, B, C, createNode, GIB, gpus, kernel, request, sharedGpus, wholeGpus } from './test-node.js';

/** Whole numbers from 0 below the bound, the same for the same seed. */
function randomNumbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

const AGENTS = [A, B, C];
const STEPS = 60;

interface Live {
  readonly agent: AgentId;
  readonly kernelId: KernelId;
  readonly allocation: Allocation;
}

/** Counts for itself, from what the agents handed out: no device beyond its capacity, nothing lost. */
function expectConserved(
  node: NodeResources,
  live: readonly Live[],
  capacities: ReadonlyMap<string, Decimal>,
): void {
  node.checkInvariants();
  const used = new Map<string, Decimal>();
  for (const { allocation } of live)
    for (const [name, slots] of Object.entries(allocation.allocations))
      for (const perDevice of Object.values(slots))
        for (const [id, amount] of Object.entries(perDevice))
          used.set(`${name} ${id}`, (used.get(`${name} ${id}`) ?? new Decimal(0)).plus(amount));
  for (const [device, amount] of used) {
    const capacity = capacities.get(device);
    // A lost device has no capacity any more, but still its kernel.
    if (capacity && amount.greaterThan(capacity)) throw new Error(`${device}: ${String(amount)} in use`);
  }
  for (const agent of AGENTS)
    for (const [slot, usage] of Object.entries(node.forAgent(agent).usage().slots)) {
      const parts = new Decimal(usage.allocated).plus(usage.allocatedBySiblings).plus(usage.free);
      if (!parts.equals(usage.capacity)) throw new Error(`${agent} ${slot}: ${JSON.stringify(usage)}`);
      if (new Decimal(usage.free).isNegative())
        throw new Error(`${agent} ${slot}: less than nothing is free`);
    }
}

const capacitiesOf = (devices: readonly MockDevice[]): ReadonlyMap<string, Decimal> =>
  new Map([
    ...Array.from({ length: 8 }, (_, core): [string, Decimal] => [`cpu ${String(core)}`, new Decimal(1)]),
    ['mem root', new Decimal(String(16n * GIB))],
    ...devices.map(({ deviceId }): [string, Decimal] => [`cuda ${deviceId}`, new Decimal(1)]),
  ]);

const manual = (slot: string) => ({
  agents: AGENTS.map((id, index) => ({
    id,
    manual: {
      slots: { cpu: String(index + 1), mem: `${String(index + 3)}g`, [slot]: index === 0 ? '2' : '1' },
    },
  })),
});

describe.each(['shared', 'auto-split', 'manual'] as const)('mode %s', (mode) => {
  describe.each(['cuda.device', 'cuda.shares'])('with %s', (slot) => {
    test.each([1, 2, 3, 4])('random life of kernels, seed %i', async (seed) => {
      const random = randomNumbers(seed);
      let devices = gpus(5);
      const plugin = slot === 'cuda.device' ? wholeGpus(devices) : sharedGpus(devices);
      const options = () => ({
        mode,
        plugins: [new CpuPlugin({ fixedCores: 8 }), new MemoryPlugin({ fixedBytes: 16n * GIB }), plugin],
        reserved: { cpu: 1, memBytes: GIB },
        affinityPolicy: random(2) === 0 ? ('INTERLEAVED' as const) : ('PREFER_SINGLE_NODE' as const),
        ...(mode === 'manual' ? manual(slot) : {}),
      });
      let node = await createNode(AGENTS, options());
      const live: Live[] = [];
      let allocated = 0;
      for (let step = 0; step < STEPS; step += 1) {
        const agent = AGENTS[random(3)] ?? A;
        const action = random(20);
        if (action < 11) {
          const kernelId = kernel(step);
          const gpu = slot === 'cuda.device' ? String(random(3)) : String(random(25) / 10);
          const slots = { cpu: String(random(4)), mem: String(BigInt(random(5)) * (GIB / 2n)), [slot]: gpu };
          const before = JSON.stringify(AGENTS.map((id) => node.forAgent(id).usage()));
          try {
            const allocation = node
              .forAgent(agent)
              .allocate(kernelId, request(slots, { allowFractionalFragmentation: random(2) === 0 }));
            live.push({ agent, kernelId, allocation });
            allocated += 1;
          } catch {
            expect(JSON.stringify(AGENTS.map((id) => node.forAgent(id).usage()))).toBe(before);
          }
        } else if (action < 17) {
          const [gone] = live.splice(random(Math.max(1, live.length)), 1);
          if (gone) node.forAgent(gone.agent).free(gone.kernelId);
        } else if (action < 18) {
          devices = gpus(3 + random(4));
          plugin.setDevices(devices);
          await node.rescan();
        } else {
          // The daemon restarts, and its kernels come back in any order. With fewer devices than are allocated by
          // hand it would not start.
          if (mode === 'manual') devices = gpus(5);
          plugin.setDevices(devices);
          node = await createNode(AGENTS, options());
          const order = [...live].sort(() => random(3) - 1);
          for (const { agent: owner, kernelId, allocation } of order)
            node.forAgent(owner).restore(kernelId, allocation);
        }
        expectConserved(node, live, capacitiesOf(devices));
      }
      expect(allocated).toBeGreaterThan(2);
      for (const { agent, kernelId } of live) node.forAgent(agent).free(kernelId);
      expectConserved(node, [], capacitiesOf(devices));
      for (const agent of AGENTS)
        for (const usage of Object.values(node.forAgent(agent).usage().slots))
          expect(usage).toMatchObject({ allocated: '0', allocatedBySiblings: '0', free: usage.capacity });
    });
  });
});

test('free undoes allocate, whatever was there before', async () => {
  const random = randomNumbers(99);
  const node = await createNode([A], {
    plugins: [
      new CpuPlugin({ fixedCores: 8 }),
      new MemoryPlugin({ fixedBytes: 16n * GIB }),
      sharedGpus(gpus(4)),
    ],
  });
  const agent = node.forAgent(A);
  for (let round = 0; round < 60; round += 1) {
    const before = agent.usage();
    const slots = { cpu: String(1 + random(2)), 'cuda.shares': String((1 + random(15)) / 10) };
    agent.allocate(kernel(1000 + round), request(slots));
    agent.free(kernel(1000 + round));
    expect(agent.usage()).toEqual(before);
    // Some stay, so that later rounds start from another state.
    if (round % 12 === 0) agent.allocate(kernel(round), request({ 'cuda.shares': '0.3' }));
  }
});

test('the order of restoring does not matter', async () => {
  const plugins = [
    new CpuPlugin({ fixedCores: 8 }),
    new MemoryPlugin({ fixedBytes: 16n * GIB }),
    wholeGpus(gpus(5)),
  ];
  const node = await createNode(AGENTS, { plugins });
  const kernels = AGENTS.map((agent, index) => ({
    agent,
    kernelId: kernel(index),
    allocation: node.forAgent(agent).allocate(kernel(index), request({ cpu: '2', 'cuda.device': '1' })),
  }));
  const after = async (order: typeof kernels) => {
    const restarted = await createNode(AGENTS, { plugins });
    for (const { agent, kernelId, allocation } of order)
      restarted.forAgent(agent).restore(kernelId, allocation);
    restarted.checkInvariants();
    return AGENTS.map((agent) => ({ ...restarted.forAgent(agent).usage().slots }));
  };
  expect(await after(kernels)).toEqual(await after([...kernels].reverse()));
});
