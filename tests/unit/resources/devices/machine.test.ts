import { join } from 'node:path';
import { CpuPlugin } from '../../../../src/resources/devices/cpu.js';
import { formatCpuset, parseCpuset } from '../../../../src/resources/devices/cpuset.js';
import {
  availableMemoryBytes,
  DOCKER_CPUSET_FILES,
  numaNodes,
  pciNumaNode,
  usableCores,
  usableMemoryBytes,
} from '../../../../src/resources/devices/machine.js';
import { MemoryPlugin } from '../../../../src/resources/devices/memory.js';
import { parseOvercommitFactor } from '../../../../src/resources/devices/overcommit.js';

const fixtures = join(import.meta.dirname, '../../../fixtures');
const machine = (name: string) => ({ proc: join(fixtures, 'proc', name), sys: join(fixtures, 'sys', name) });
const TWO_NODES = machine('two-nodes');
const VERSION_1 = machine('cgroup-v1');
const BARE = machine('bare');
const KIB = 1024n;

describe('sets of cores', () => {
  test.each([
    ['0', [0]],
    ['2-5', [2, 3, 4, 5]],
    ['1-1', [1]],
    ['0-1,5-8,120,150-153\n', [0, 1, 5, 6, 7, 8, 120, 150, 151, 152, 153]],
    ['3,1,2-3', [1, 2, 3]],
  ])('%j', (text, cores) => {
    expect(parseCpuset(text)).toEqual(cores);
  });

  test.each(['', 'a', '1-0', '-99', '1-', '1,,2', '0-99999999999'])('%j is refused', (text) => {
    expect(() => parseCpuset(text)).toThrow('not a set of cores');
  });

  test('written in ascending order, each once', () => {
    expect(formatCpuset([3, 1, 3])).toBe('1,3');
  });
});

describe('cores', () => {
  test('those that are online and that this process may use', async () => {
    expect(await usableCores(TWO_NODES)).toEqual([1, 2, 3, 4, 6]);
  });

  test("and that the container engine's group may use", async () => {
    expect(await usableCores(TWO_NODES, DOCKER_CPUSET_FILES)).toEqual([2, 3, 4, 6]);
    expect(await usableCores(VERSION_1, DOCKER_CPUSET_FILES)).toEqual([0, 1]);
  });

  test('a machine that tells nothing still has cores', async () => {
    expect((await usableCores(BARE)).length).toBeGreaterThan(0);
  });

  test('NUMA nodes, also ones without cores', async () => {
    expect(await numaNodes(TWO_NODES)).toEqual(
      new Map([0, 1, 2, 3, 4, 5, 6, 7].map((core) => [core, core < 4 ? 0 : 1])),
    );
    expect(await numaNodes(BARE)).toEqual(new Map());
  });

  test('devices: one for each core, with its node', async () => {
    const devices = await new CpuPlugin({ roots: TWO_NODES, overcommit: 2 }).discover();
    expect(devices.map(({ deviceId, numaNode }) => [deviceId, numaNode])).toEqual([
      ['1', 0],
      ['2', 0],
      ['3', 0],
      ['4', 1],
      ['6', 1],
    ]);
    expect(devices.every(({ amount }) => amount === '2')).toBe(true);
    const [first] = await new CpuPlugin({ roots: BARE }).discover();
    expect(first?.numaNode).toBe(0);
    const fixed = await new CpuPlugin({ fixedCores: 3 }).discover();
    expect(fixed.map(({ numaNode }) => numaNode)).toEqual([null, null, null]);
  });
});

describe('memory', () => {
  test('the machine, or the smallest group above this process', async () => {
    expect(await usableMemoryBytes(TWO_NODES, false)).toBe(16384000n * KIB);
    expect(await usableMemoryBytes(TWO_NODES, true)).toBe(8589934592n);
    expect(await usableMemoryBytes(VERSION_1, true)).toBe(4294967296n);
    expect(await usableMemoryBytes(BARE, true)).toBe(1024n * KIB);
    await expect(usableMemoryBytes(machine('none'), true)).rejects.toThrow('/proc/meminfo');
  });

  test('one device, more than there is if asked for', async () => {
    const [root] = await new MemoryPlugin({ roots: BARE, overcommit: 3 }).discover();
    expect(root).toMatchObject({
      deviceId: 'root',
      slotName: 'mem',
      amount: String(3n * 1024n * KIB),
      numaNode: 0,
    });
  });

  test('measures', async () => {
    const amounts = { value: String(12288000n * KIB), capacity: String(16384000n * KIB) };
    expect(await new MemoryPlugin({ roots: TWO_NODES, ownCgroup: false }).measure()).toEqual([
      { key: 'mem', unit: 'bytes', ...amounts, perDevice: { root: amounts } },
    ]);
    expect(await availableMemoryBytes(BARE)).toBeUndefined();
    expect(await new MemoryPlugin({ roots: BARE }).measure()).toEqual([]);
  });
});

test('NUMA node of a PCI device, by the address the driver writes', async () => {
  expect(await pciNumaNode(TWO_NODES, '00000000:0F:00.0')).toBe(1);
  expect(await pciNumaNode(TWO_NODES, '0000:07:00.0')).toBe(-1);
  expect(await pciNumaNode(TWO_NODES, '00000000:FF:00.0')).toBeNull();
});

test.each([
  [undefined, 1],
  ['', 1],
  ['1', 1],
  ['10', 10],
])('an overcommit factor of %j is %i', (text, factor) => {
  expect(parseOvercommitFactor(text)).toBe(factor);
});

test.each(['0', '11', '-1', '1.5', 'x'])('an overcommit factor of %j is refused', (text) => {
  expect(() => parseOvercommitFactor(text)).toThrow('whole number from 1 to 10');
});

test('this machine has cores and memory', async () => {
  expect((await new CpuPlugin().discover()).length).toBeGreaterThan(0);
  const [root] = await new MemoryPlugin().discover();
  expect(root?.memoryBytes).toBeGreaterThan(0n);
});
