import { ResourceSlot } from '../../../src/resources/index.js';
import {
  containerIdLine,
  containerIdOf,
  type KernelResourceSpec,
  parseResourceText,
  resourceSpecJson,
  writeResourceText,
} from '../../../src/resources/kernel-resource-spec.js';
import { parseMount } from '../../../src/resources/mount-text.js';
import type { SlotTypes } from '../../../src/resources/quantity/resource-slot.js';

const TYPES: SlotTypes = new Map([
  ['cpu', 'count'],
  ['mem', 'bytes'],
  ['cuda.shares', 'count'],
]);
const ORDER = ['cuda', 'cpu', 'mem'];

// The example of spec/config-and-resources.md 4.4.
const EXAMPLE: KernelResourceSpec = {
  slots: { cpu: '2', mem: '1073741824', 'cuda.shares': '0.5' },
  allocations: {
    cpu: { cpu: { '0': '1', '3': '1' } },
    mem: { mem: { root: '1073741824' } },
    cuda: { 'cuda.shares': { '0': '0.5' } },
  },
  scratchDiskSizeBytes: 0n,
  mounts: [
    { type: 'bind', source: '/a/b', target: '/home/work/b', permission: 'rw' },
    { type: 'volume', source: 'vol', target: '/opt/backend.ai', permission: 'ro' },
  ],
};
const TEXT = `SCRATCH_SIZE=0m
MOUNTS=/a/b:/home/work/b:rw,vol:/opt/backend.ai:ro
SLOTS={"cpu":"2","mem":"1073741824","cuda.shares":"0.5"}
CUDA.SHARES_SHARES=0:0.5
CPU_SHARES=0:1,3:1
MEM_SHARES=root:1g
CUDA_GLOBAL_DEVICE_IDS=0:0
CUDA_RESOURCE_VIRTUALIZED=0
`;
const PLUGIN_DATA = { CUDA_GLOBAL_DEVICE_IDS: '0:0', CUDA_RESOURCE_VIRTUALIZED: '0' };

test('the documented example, both ways', () => {
  expect(writeResourceText(EXAMPLE, { slotTypes: TYPES, order: ORDER, pluginData: PLUGIN_DATA })).toBe(TEXT);
  expect(parseResourceText(TEXT, TYPES)).toEqual(EXAMPLE);
});

test('with container id, blank lines, unknown and repeated keys', () => {
  const text = `\n${TEXT}\nno assignment\nFOO=bar\nCPU_SHARES=1:2\n${containerIdLine('0123abc')}`;
  expect(containerIdOf(text)).toBe('0123abc');
  expect(containerIdOf(TEXT)).toBeUndefined();
  expect(parseResourceText(text, TYPES).allocations['cpu']).toEqual({ cpu: { '1': '2' } });
});

test('the unified devices of later releases', () => {
  const spec: KernelResourceSpec = { ...EXAMPLE, unifiedDevices: [['dev', 'dev.slot']] };
  const text = writeResourceText(spec, { slotTypes: TYPES, order: ORDER });
  expect(text).toContain('UNIFIED_DEVICES=[["dev","dev.slot"]]\n');
  expect(parseResourceText(text, TYPES)).toEqual(spec);
  expect(parseResourceText(`${TEXT}UNIFIED_DEVICES=[]\n`, TYPES).unifiedDevices).toEqual([]);
});

test('devices without slots have no line, slots without devices an empty one', () => {
  const spec = { ...EXAMPLE, mounts: [], allocations: { cuda: {}, cpu: { cpu: {} } } };
  const text = writeResourceText(spec, { slotTypes: TYPES, order: ORDER });
  expect(text).toContain('MOUNTS=\n');
  expect(text).toContain('CPU_SHARES=\n');
  expect(text).not.toContain('CUDA');
  expect(parseResourceText(text, TYPES)).toMatchObject({ mounts: [], allocations: { cpu: { cpu: {} } } });
});

test('hyphenated device names and ids with dashes', () => {
  const spec = { ...EXAMPLE, allocations: { 'tt-n300': { 'tt-n300.device': { 'MIG-1/0/0': '1' } } } };
  const text = writeResourceText(spec, { slotTypes: TYPES });
  expect(text).toContain('TT-N300.DEVICE_SHARES=MIG-1/0/0:1\n');
  expect(parseResourceText(text, TYPES).allocations).toEqual(spec.allocations);
});

test('memory survives exactly, exponents are read and not written', () => {
  const spec = { ...EXAMPLE, allocations: { mem: { mem: { root: '1100000000' } } } };
  const text = writeResourceText(spec, { slotTypes: TYPES });
  expect(parseResourceText(text, TYPES).allocations).toEqual(spec.allocations);
  const tens = parseResourceText(TEXT.replace('0:1,3:1', '0:1E+1,:3,4:'), TYPES);
  expect(tens.allocations['cpu']).toEqual({ cpu: { '0': '10' } });
});

test('what the grammar cannot carry is refused', () => {
  const write = (allocations: KernelResourceSpec['allocations'], pluginData = {}) =>
    writeResourceText({ ...EXAMPLE, allocations }, { slotTypes: TYPES, pluginData });
  expect(() => write({ cuda: { cpu: { '0': '1' } } })).toThrow(
    'device_name (cuda) must be a prefix of slot_name (cpu)',
  );
  expect(() => write({ cpu: { cpu: { 'a:b': '1' } } })).toThrow('device id');
  expect(() => write({}, { KEY: 'a\nCID=b' })).toThrow('line break');
});

test.each(['MOUNTS', 'SCRATCH_SIZE', 'SLOTS'])('%s is mandatory', (key) => {
  expect(() => parseResourceText(TEXT.replace(`${key}=`, `NO_${key}=`), TYPES)).toThrow(key);
});

test.each([
  ['no JSON', TEXT.replace('{"cpu"', '{cpu'), 'SLOTS is not JSON'],
  ['no map', TEXT.replace(/SLOTS=.*/, 'SLOTS=[1]'), 'unexpected shape'],
  ['no number', TEXT.replace('0:0.5', '0:x'), 'not a decimal number'],
])('%s is refused', (_, text, message) => {
  expect(() => parseResourceText(text, TYPES)).toThrow(message);
});

test.each([
  ['/a:/b', 'not a mount'],
  ['/a:/b:rw:z', 'not a mount'],
  ['/a:/b:rx', 'not a mount'],
  ['a/b:/c:ro', 'Mount source must be an absolute path if it is not a volume name.'],
  ['/a:b:ro', 'Mount target must be an absolute path.'],
])('the mount %s is refused', (text, message) => {
  expect(() => parseMount(text)).toThrow(message);
});

test('a mount without source', () => {
  expect(parseMount('None:/tmp:wd')).toEqual({
    type: 'tmpfs',
    source: null,
    target: '/tmp',
    permission: 'wd',
  });
});

test('for logs: a map of slots, mounts as texts', () => {
  expect(resourceSpecJson(EXAMPLE)).toMatchObject({
    slots: EXAMPLE.slots,
    scratch_disk_size: 0,
    mounts: ['/a/b:/home/work/b:rw', 'vol:/opt/backend.ai:ro'],
  });
  expect(ResourceSlot.fromJson(EXAMPLE.slots).toJson()).toEqual(EXAMPLE.slots);
});
