import { jest } from '@jest/globals';
import {
  type AffinityDevice,
  AffinityMap,
  type AffinityPolicy,
} from '../../../../src/resources/alloc-map/affinity-map.js';
import { allocate } from '../../../../src/resources/alloc-map/allocate.js';
import type { AllocMap } from '../../../../src/resources/alloc-map/alloc-map.js';
import { DiscretePropertyAllocMap } from '../../../../src/resources/alloc-map/discrete.js';
import { FractionAllocMap } from '../../../../src/resources/alloc-map/fraction.js';
import { Decimal } from '../../../../src/resources/quantity/decimal.js';
import { amounts, ask, devices, entries, failureOf, numbered, state } from '../amounts.js';

const at = (deviceName: string, deviceId: string, numaNode: number | null): AffinityDevice => ({
  deviceName,
  deviceId,
  numaNode,
});
const ids = (group: readonly AffinityDevice[] | undefined) => (group ?? []).map(({ deviceId }) => deviceId);

// Names are the rows of spec/config-and-resources.md 5.3 and 5.7.
describe('nearness', () => {
  const four = new AffinityMap([
    ...['a0', 'a1', 'a2'].map((id) => at('cpu', id, 0)),
    ...['b0', 'b1', 'b2'].map((id) => at('cpu', id, 1)),
    ...['c0', 'c1'].map((id) => at('cpu', id, 2)),
    ...['d0', 'd1', 'd2', 'd3'].map((id) => at('cpu', id, 3)),
    ...[0, 1, 2, 3].map((node) => at('cuda', `x${String(node)}`, node)),
  ]);
  const gpu = (node: number) => at('cuda', `x${String(node)}`, node);

  test('F1: the largest group first', () => {
    expect(ids(four.clusters('cpu')[0])).toEqual(['d0', 'd1', 'd2', 'd3']);
    expect(four.clusters('none')).toEqual([]);
  });

  test('F2-F4: groups of the source nodes, the rest behind', () => {
    const one = four.neighbors([gpu(0)], 'cpu');
    expect(one.primary.map(ids)).toEqual([['a0', 'a1', 'a2']]);
    expect(one.secondary).toHaveLength(9);
    const three = four.neighbors([gpu(3), gpu(1), gpu(2)], 'cpu');
    expect(three.primary.map((group) => ids(group)[0])).toEqual(['b0', 'c0', 'd0']);
    expect(ids(three.secondary)).toEqual(['a0', 'a1', 'a2']);
    const back = four.neighbors([at('cpu', 'a0', 0), at('cpu', 'a1', 0), at('cpu', 'b0', 1)], 'cuda');
    expect(back.primary.map(ids)).toEqual([['x0'], ['x1']]);
    expect(ids(back.secondary)).toEqual(['x2', 'x3']);
  });

  test.each([null, -1])('F5: all on node %s are one group', (node) => {
    expect(new AffinityMap([at('cpu', '0', node), at('cpu', '1', node)]).clusters('cpu')).toHaveLength(1);
  });

  test('null and -1 are different places; duplicates are one device', () => {
    const map = new AffinityMap([at('cpu', '0', null), at('cpu', '1', -1), at('cpu', '1', -1)]);
    expect(map.clusters('cpu')).toHaveLength(2);
    expect(map.devices).toHaveLength(2);
  });

  test('a source must be there and of another family', () => {
    expect(() => four.neighbors([], 'cpu')).toThrow('previously allocated devices');
    expect(() => four.neighbors([gpu(0)], 'cuda')).toThrow('same resource slots twice');
  });
});

describe('allocating near', () => {
  const twoNodes = (policy: AffinityPolicy) => {
    const map = new DiscretePropertyAllocMap({ deviceSlots: numbered([1, 1, 1, 1]), strategy: 'FILL' });
    const affinity = new AffinityMap([0, 0, 1, 1].map((node, index) => at('x', `a${String(index)}`, node)));
    return { map, hint: { devices: null, map: affinity, policy } };
  };

  test('A1: one node if it has room', () => {
    const { map, hint } = twoNodes('PREFER_SINGLE_NODE');
    expect(ids1(ask(map, 1, { hint }))).toEqual(['a0']);
    expect(ids1(ask(map, 2, { hint }))).toEqual(['a2', 'a3']);
  });

  test('A2: in turn over the nodes', () => {
    const { map, hint } = twoNodes('INTERLEAVED');
    expect(ids1(ask(map, 1, { hint }))).toEqual(['a0']);
    expect(ids1(ask(map, 2, { hint }))).toEqual(['a2', 'a1']);
  });

  test('A3: a family nobody has', () => {
    const { map, hint } = twoNodes('INTERLEAVED');
    expect(() => ask(map, 1, { hint }, 'y')).toThrow(
      'No suitable devices found (searched: y, found: x, x, x, x)',
    );
  });

  const cpuNodes = (perNode: readonly string[][]) =>
    perNode.flatMap((names, node) => names.map((name) => at('cpu', name, node)));
  const ids1 = (granted: readonly (readonly [string, string])[]) => granted.map(([id]) => id);

  test('A4: cores of the nodes where the GPUs are', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((letter) => [0, 1, 2].map((index) => `${letter}${String(index)}`));
    const gpus = [0, 1, 2, 3].map((node) => at('cuda', `x${String(node)}`, node));
    const affinity = new AffinityMap([...cpuNodes(nodes), ...gpus]);
    const map = new DiscretePropertyAllocMap({
      deviceSlots: devices(Object.fromEntries(nodes.flat().map((id) => [id, '1'])), 'cpu'),
    });
    const prior = gpus.filter(({ numaNode }) => numaNode === 1 || numaNode === 3);
    const hint = { devices: prior, map: affinity, policy: 'PREFER_SINGLE_NODE' as const };
    expect(ids1(ask(map, 4, { hint }, 'cpu'))).toEqual(['b0', 'b1', 'd0', 'd1']);
  });

  test('A5: a whole kernel, GPUs and cores on the same two nodes', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((letter) => [0, 1, 2].map((index) => `${letter}${String(index)}`));
    const gpus = [0, 1, 2, 3].map((node) => at('cuda', `x${String(node)}`, node));
    const affinity = new AffinityMap([...cpuNodes(nodes), ...gpus]);
    const maps = new Map<string, AllocMap>([
      [
        'cpu',
        new DiscretePropertyAllocMap({
          deviceSlots: devices(Object.fromEntries(nodes.flat().map((id) => [id, '1'])), 'cpu'),
        }),
      ],
      ['cuda', new DiscretePropertyAllocMap({ deviceSlots: numbered([1, 1, 1, 1], 'cuda.device', 'x') })],
    ]);
    const done = allocate(maps, amounts({ cpu: 4, 'cuda.device': 2 }), {
      order: ['cuda', 'cpu'],
      affinityMap: affinity,
      policy: 'INTERLEAVED',
    });
    expect([...done.keys()]).toEqual(['cuda', 'cpu']);
    expect(ids1(entries(done.get('cuda')?.get('cuda.device')))).toEqual(['x0', 'x1']);
    expect(ids1(entries(done.get('cpu')?.get('cpu')))).toEqual(['a0', 'a1', 'b0', 'b1']);
  });

  test('A6: a large machine with split nodes, mostly taken', () => {
    const nodeOf = (core: number) => Math.floor(core / 36) % 2;
    const cores = Array.from({ length: 144 }, (_, core) => core);
    const affinity = new AffinityMap([
      ...cores.map((core) => at('cpu', String(core), nodeOf(core))),
      ...[0, 0, 1, 1].map((node, index) => at('npu', `npu${String(index)}`, node)),
    ]);
    const cpu = new DiscretePropertyAllocMap({
      deviceSlots: devices(Object.fromEntries(cores.map((core) => [String(core), '1'])), 'cpu'),
    });
    const npu = new DiscretePropertyAllocMap({ deviceSlots: numbered([1, 1, 1, 1], 'npu.device', 'npu') });
    const one = new Decimal(1);
    cpu.apply(new Map([['cpu', new Map(cores.slice(0, 24).map((core) => [String(core), one]))]]));
    npu.apply(new Map([['npu.device', new Map(['npu0', 'npu1', 'npu2'].map((id) => [id, one]))]]));
    const done = allocate(
      new Map<string, AllocMap>([
        ['cpu', cpu],
        ['npu', npu],
      ]),
      amounts({ cpu: 8, 'npu.device': 1 }),
      {
        order: ['npu', 'cpu'],
        affinityMap: affinity,
        policy: 'INTERLEAVED',
      },
    );
    expect(ids1(entries(done.get('npu')?.get('npu.device')))).toEqual(['npu3']);
    const granted = ids1(entries(done.get('cpu')?.get('cpu')));
    expect(granted).toHaveLength(8);
    expect(granted.every((core) => nodeOf(Number(core)) === 1)).toBe(true);
  });

  test.each([
    ['FILL', [2, 12, 12]],
    ['EVENLY', [8, 9, 9]],
  ] as const)('A7: %s over near and far nodes', (strategy, expected) => {
    const nodes = [0, 1, 2].map((node) => [0, 1, 2].map((index) => `c${String(node)}${String(index)}`));
    const gpus = [0, 1, 2].map((node) => at('cuda', `gpu${String(node)}`, node));
    const map = new DiscretePropertyAllocMap({
      deviceSlots: devices(Object.fromEntries(nodes.flat().map((id) => [id, '4'])), 'cpu'),
      strategy,
    });
    const hint = {
      devices: gpus.slice(1),
      map: new AffinityMap([...cpuNodes(nodes), ...gpus]),
      policy: 'PREFER_SINGLE_NODE' as const,
    };
    const granted = ask(map, 26, { hint }, 'cpu');
    const perNode = [0, 1, 2].map((node) =>
      granted
        .filter(([id]) => id[1] === String(node))
        .reduce((total, [, amount]) => total + Number(amount), 0),
    );
    expect(perNode).toEqual(expected);
  });

  test('A8: fractions near another device, then cores near them', () => {
    const cpus = [0, 1, 2].map((node) => [0, 1].map((index) => `c${String(node)}${String(index)}`));
    const gpus = [0, 1, 2].map((node) => at('cuda', `gpu${String(node)}`, node));
    const npu = at('npu', 'npu1', 1);
    const affinity = new AffinityMap([...cpuNodes(cpus), ...gpus, npu]);
    const cuda = new FractionAllocMap({
      deviceSlots: numbered(['1.0', '1.0', '1.0'], 'cuda.shares', 'gpu'),
      strategy: 'FILL',
    });
    const cpu = new DiscretePropertyAllocMap({
      deviceSlots: devices(Object.fromEntries(cpus.flat().map((id) => [id, '1'])), 'cpu'),
    });
    const policy = 'PREFER_SINGLE_NODE' as const;
    const shares = ask(cuda, '1.5', { hint: { devices: [npu], map: affinity, policy } }, 'cuda.shares');
    expect(shares).toEqual([
      ['gpu1', '1'],
      ['gpu0', '0.5'],
    ]);
    const used = gpus.filter(({ deviceId }) => shares.some(([id]) => id === deviceId));
    const cores = ask(cpu, 3, { hint: { devices: used, map: affinity, policy } }, 'cpu');
    expect(cores).toHaveLength(3);
    expect(new Set(cores.map(([id]) => id[1]))).toEqual(new Set(['0', '1']));
  });

  test('A9: eight cores on two nodes', () => {
    const cores = Array.from({ length: 8 }, (_, core) => String(core));
    const affinity = new AffinityMap(cores.map((core) => at('cpu', core, Number(core) < 4 ? 0 : 1)));
    const map = () =>
      new DiscretePropertyAllocMap({
        deviceSlots: devices(Object.fromEntries(cores.map((core) => [core, '1'])), 'cpu'),
        strategy: 'FILL',
      });
    const hint = (policy: AffinityPolicy) => ({ hint: { devices: null, map: affinity, policy } });
    expect(ids1(ask(map(), 3, hint('INTERLEAVED'), 'cpu'))).toEqual(['0', '4', '1']);
    expect(ids1(ask(map(), 3, hint('PREFER_SINGLE_NODE'), 'cpu'))).toEqual(['0', '1', '2']);
  });

  test('devices of another slot in the same family are not handed out', () => {
    const map = new DiscretePropertyAllocMap({
      deviceSlots: new Map([
        ...devices({ g0: '1' }, 'cuda.device'),
        ...devices({ m0: '1', m1: '1' }, 'cuda.device:1g-mig', 'unique'),
      ]),
    });
    const affinity = new AffinityMap(['g0', 'm0', 'm1'].map((id) => at('cuda', id, 0)));
    const hint = { devices: null, map: affinity, policy: 'INTERLEAVED' as const };
    expect(ids1(ask(map, 1, { hint }, 'cuda.device'))).toEqual(['g0']);
    expect(failureOf(() => ask(map, 1, { hint }, 'cuda.device'))).toBe('InsufficientResource');
  });

  test('no device on the source node: the others serve', () => {
    const affinity = new AffinityMap([at('cpu', '0', 0), at('cuda', 'g', 7)]);
    const map = new DiscretePropertyAllocMap({ deviceSlots: devices({ '0': '1' }, 'cpu') });
    const hint = { devices: [at('cuda', 'g', 7)], map: affinity, policy: 'INTERLEAVED' as const };
    expect(ids1(ask(map, 1, { hint }, 'cpu'))).toEqual(['0']);
  });

  test('a fraction near other devices never goes beyond what a device has', () => {
    // The hint puts the small device of the near node first, where an unsorted spread would overfill it.
    const cuda = new FractionAllocMap({
      deviceSlots: devices({ far: '1', near: '0.2' }, 'cuda.shares'),
    });
    const affinity = new AffinityMap([at('npu', 'n', 1), at('cuda', 'far', 0), at('cuda', 'near', 1)]);
    const hint = { devices: [at('npu', 'n', 1)], map: affinity, policy: 'INTERLEAVED' as const };
    expect(ask(cuda, '1.2', { hint }, 'cuda.shares')).toEqual([
      ['far', '1'],
      ['near', '0.2'],
    ]);
    expect(state(cuda, 'cuda.shares')).toEqual(['1', '0.2']);
  });
});

describe('a whole kernel', () => {
  const node = () => {
    const maps = new Map<string, AllocMap>([
      [
        'cuda',
        new FractionAllocMap({
          deviceSlots: numbered(['1.0', '1.0'], 'cuda.shares', 'gpu'),
          quantum: new Decimal('0.1'),
        }),
      ],
      ['cpu', new DiscretePropertyAllocMap({ deviceSlots: numbered([1, 1, 1, 1], 'cpu', 'cpu') })],
      [
        'mem',
        new DiscretePropertyAllocMap({
          deviceSlots: devices({ root: '4096' }, 'mem', 'bytes'),
          strategy: 'FILL',
        }),
      ],
    ]);
    const affinityMap = new AffinityMap([
      ...[0, 1].map((index) => at('cuda', `gpu${String(index)}`, index)),
      ...[0, 1, 2, 3].map((index) => at('cpu', `cpu${String(index)}`, 0)),
      at('mem', 'root', 0),
    ]);
    const order = ['cuda', 'cpu', 'mem'];
    const policy = 'PREFER_SINGLE_NODE' as const;
    const run = (slots: Record<string, string | number>, allowFragmentation = true) =>
      allocate(maps, amounts(slots), { order, affinityMap, policy, allowFragmentation });
    const all = () => [
      state(maps.get('cuda') as AllocMap, 'cuda.shares'),
      state(maps.get('cpu') as AllocMap, 'cpu'),
      state(maps.get('mem') as AllocMap, 'mem'),
    ];
    return { maps, run, all };
  };

  test('A10, A11: two kernels, then one that would be fragmented', () => {
    const { run, all } = node();
    run({ cpu: 1, mem: 512, 'cuda.shares': '.8' });
    expect(all()).toEqual([['0', '0.8'], ['1', '0', '0', '0'], ['512']]);
    run({ cpu: 1, mem: 512, 'cuda.shares': '.8' });
    expect(all()).toEqual([['0.8', '0.8'], ['1', '1', '0', '0'], ['1024']]);
    const before = all();
    expect(failureOf(() => run({ cpu: 1, mem: 512, 'cuda.shares': '.4' }, false))).toBe(
      'FractionalResourceFragmented',
    );
    expect(all()).toEqual(before);
    run({ cpu: 1, mem: 512, 'cuda.shares': '.4' });
    expect(all()).toEqual([['1', '1'], ['1', '1', '1', '0'], ['1536']]);
  });

  test('A12: the last device fails and the first ones are given back', () => {
    const { run, all } = node();
    run({ cpu: 1, mem: 512 });
    const before = all();
    expect(failureOf(() => run({ 'cuda.shares': 1, cpu: 1, mem: 4096 }))).toBe('InsufficientResource');
    expect(failureOf(() => run({ 'cuda.shares': 1, cpu: 9, mem: 1 }))).toBe('InsufficientResource');
    expect(all()).toEqual(before);
  });

  test('whatever fails, everything is as before', () => {
    const { maps, run, all } = node();
    const mem = maps.get('mem') as AllocMap;
    jest.spyOn(mem, 'allocate').mockImplementation(() => {
      throw new TypeError('a defect');
    });
    expect(() => run({ 'cuda.shares': 1, cpu: 1, mem: 1 })).toThrow('a defect');
    expect(all()).toEqual([['0', '0'], ['0', '0', '0', '0'], ['0']]);
  });

  test('devices missing in the order come last, zero amounts have an empty entry', () => {
    const { maps } = node();
    const done = allocate(maps, amounts({ mem: 1, cpu: 1, 'cuda.shares': 0 }), {
      order: ['mem'],
      affinityMap: new AffinityMap([at('cpu', 'cpu0', 0), at('mem', 'root', 0), at('cuda', 'gpu0', 0)]),
      policy: 'INTERLEAVED',
    });
    expect([...done.keys()]).toEqual(['mem', 'cpu', 'cuda']);
    expect(done.get('cuda')?.size).toBe(0);
  });
});
