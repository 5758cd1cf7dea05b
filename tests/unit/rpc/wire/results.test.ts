import { createCodec } from '../../../../src/codec/index.js';
import type { ResourceSlot } from '../../../../src/codec/index.js';
import { parseKernelId } from '../../../../src/core/ids.js';
import type { KernelCreationResult } from '../../../../src/kernels/requests.js';
import {
  creationResultToWire,
  healthToWire,
  kernelCreationResult,
  listingToWire,
  restartResultToWire,
} from '../../../../src/rpc/wire/results.js';
import { executionResult, executionResultToWire } from '../../../../src/rpc/wire/execution.js';
import { decodedForm, valueOf } from '../../../support/codec-values.js';
import { readVectors } from '../../../support/vectors.js';

const codec = createCodec();
/** What a caller finds after decoding. */
const overTheWire = (value: unknown): unknown => codec.unpack(codec.pack(value));

const { responses } = readVectors<{ responses: readonly { id: string; body: unknown }[] }>(
  'create_kernels-request.json',
);

const RESULT: KernelCreationResult = {
  id: parseKernelId('0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e'),
  containerId: '0123456789abcdef'.repeat(4),
  kernelHost: '10.0.0.5',
  replInPort: 30_000,
  replOutPort: 30_001,
  servicePorts: [
    { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30_002], isInference: false },
    { name: 'ttyd', protocol: 'http', containerPorts: [7681], hostPorts: [30_003], isInference: false },
    { name: 'jupyter', protocol: 'http', containerPorts: [8080], hostPorts: [30_004], isInference: false },
    { name: 'hostport1', protocol: 'internal', containerPorts: [9], hostPorts: [null], isInference: false },
  ],
  resourceSpec: {
    slots: { cpu: '2', mem: '4294967296', 'cuda.shares': '0.5' },
    allocations: {
      cpu: { cpu: { '0': '1', '1': '1' } },
      mem: { mem: { root: '4294967296' } },
      cuda: { 'cuda.shares': { '0': '0.50' } },
    },
    scratchDiskSizeBytes: 0,
    mounts: [
      { type: 'bind', source: '/vfroot/local/aa/11/bb22', target: '/home/work/data', permission: 'rw' },
    ],
  },
  attachedDevices: {
    cpu: [
      { deviceId: '0', modelName: '', data: { cores: 2 } },
      { deviceId: '1', modelName: '', data: { cores: 2 } },
    ],
    mem: [{ deviceId: 'root', modelName: '', data: {} }],
    cuda: [{ deviceId: '0', modelName: 'NVIDIA A100', data: { smp: 108, memBytes: 42_949_672_960n } }],
  },
  agentAddr: 'tcp://10.0.0.5:6001',
  scalingGroup: 'default',
};

test('a creation result is what an agent of the original answers: same keys, order and extension types', () => {
  const golden = responses.find(({ id }) => id === 'create_kernels-result@25.17')?.body as [unknown];
  const mine = overTheWire([creationResultToWire(RESULT)]);
  expect(decodedForm(mine)).toEqual(decodedForm(overTheWire([valueOf(golden[0])])));
  expect(Object.keys((mine as [object])[0])).toEqual(Object.keys(golden[0] as object));
});

test('a caller reads a creation result as plain values', () => {
  const read = kernelCreationResult.parse(overTheWire(creationResultToWire(RESULT)));
  expect(read.resource_spec).toEqual({
    slots: RESULT.resourceSpec.slots,
    allocations: RESULT.resourceSpec.allocations,
    scratch_disk_size: 0,
    mounts: [
      {
        type: 'bind',
        source: '/vfroot/local/aa/11/bb22',
        target: '/home/work/data',
        permission: 'rw',
        opts: null,
      },
    ],
  });
  expect(read.service_ports.map(({ name, protocol }) => `${name}:${protocol}`)).toEqual([
    'sshd:tcp',
    'ttyd:http',
    'jupyter:http',
  ]);
  expect(read.attached_devices['cuda']).toEqual([
    { device_id: '0', model_name: 'NVIDIA A100', data: { smp: 108, mem: 42_949_672_960n } },
  ]);
});

test('a creation result of an agent that sends plain values is read too', () => {
  const plain = {
    ...(creationResultToWire(RESULT) as object),
    resource_spec: {
      slots: { cpu: '1' },
      allocations: { cpu: { cpu: { '0': '1' } } },
      scratch_disk_size: 0,
      mounts: [],
    },
    attached_devices: {},
  };
  expect(kernelCreationResult.parse(overTheWire(plain)).resource_spec.slots).toEqual({ cpu: '1' });
});

test('amounts are never touched', () => {
  const slots = { cpu: '0.10', mem: '9007199254740993' };
  const wire = creationResultToWire({ ...RESULT, resourceSpec: { ...RESULT.resourceSpec, slots } });
  expect((wire.resource_spec.slots as ResourceSlot).entries).toEqual(Object.entries(slots));
});

test('a restart result includes internal ports', () => {
  const { containerId, replInPort, replOutPort, servicePorts } = RESULT;
  const wire = restartResultToWire({ containerId, replInPort, replOutPort, servicePorts });
  expect(wire.service_ports.map(({ name }) => name)).toEqual(['sshd', 'ttyd', 'jupyter', 'hostport1']);
  expect(wire).toMatchObject({ container_id: containerId, stdin_port: 0, stdout_port: 0 });
});

const STATE = { runId: 'r1', exitCode: 0, options: null, files: [] } as const;

test('an execution result has a console from api version 2 on', () => {
  const wire = executionResultToWire({
    ...STATE,
    status: 'finished',
    console: [
      ['stdout', '2\n'],
      ['media', ['image/png', 'AAAA']],
    ],
  });
  expect(wire).toEqual({
    runId: 'r1',
    status: 'finished',
    exitCode: 0,
    options: null,
    files: [],
    console: [
      ['stdout', '2\n'],
      ['media', ['image/png', 'AAAA']],
    ],
  });
  expect(executionResult.parse(overTheWire(wire))).toEqual(wire);
});

test('an execution result of api version 1 has split streams', () => {
  const split = { stdout: 'a', stderr: 'b', media: [['image/png', 'AAAA']], html: ['<p>'] } as const;
  expect(executionResultToWire({ ...STATE, status: 'finished', ...split })).toEqual({
    runId: 'r1',
    status: 'finished',
    exitCode: 0,
    options: null,
    files: [],
    ...split,
  });
});

test('a listing is a JSON text with seconds and a newline, and empty when nothing could be listed', () => {
  const times = { ctimeMs: 1500, mtimeMs: 2500, atimeMs: 3500 };
  const entry = { filename: 'ü.txt', mode: '-rw-r--r--', sizeBytes: 3, ...times };
  const { files, errors, abspath } = listingToWire({ entries: [entry], errors: '' }, 'sub');
  expect(files.endsWith('\n')).toBe(true);
  expect(JSON.parse(files)).toEqual([
    { filename: 'ü.txt', mode: '-rw-r--r--', size: 3, ctime: 1.5, mtime: 2.5, atime: 3.5 },
  ]);
  expect({ errors, abspath }).toEqual({ errors: '', abspath: 'sub' });
  expect(listingToWire({ entries: [], errors: '' }, '.').files).toBe('[]\n');
  expect(listingToWire({ entries: [], errors: 'no such directory' }, 'x')).toEqual({
    files: '',
    errors: 'no such directory',
    abspath: 'x',
  });
});

test('health names every check and is healthy only if all are', () => {
  const check = { serviceGroup: 'redis', componentId: 'stat', lastCheckedAtMs: 0, sinceMs: null };
  const wire = healthToWire({
    status: 'degraded',
    version: '1',
    measuredAtMs: 1000,
    checks: [
      { ...check, isHealthy: true, errorMessage: null },
      { ...check, isHealthy: false, errorMessage: 'refused' },
    ],
  });
  expect(wire.connectivity).toMatchObject({
    overall_healthy: false,
    timestamp: '1970-01-01T00:00:01.000Z',
    connectivity_checks: [
      { is_healthy: true, error_message: null },
      { service_group: 'redis', component_id: 'stat', is_healthy: false, error_message: 'refused' },
    ],
  });
});
