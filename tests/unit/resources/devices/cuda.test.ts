import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../src/core/logger.js';
import { createCudaPlugin, cudaSettings } from '../../../../src/resources/devices/cuda.js';
import type { DevicePlugin } from '../../../../src/resources/index.js';
import { NvidiaSmi } from '../../../../src/resources/devices/nvidia-smi.js';
import { CpuPlugin, MemoryPlugin } from '../../../../src/resources/index.js';
import { A, createNode, GIB, kernel, recordingLogger, request } from '../test-node.js';

const fixtures = join(import.meta.dirname, '../../../fixtures');
const MIB = 1024n ** 2n;
const GPU = (index: number) => `GPU-11111111-aaaa-bbbb-cccc-00000000000${String(index)}`;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-nvidia-smi-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** A program that answers like `nvidia-smi`, with the fixtures of this name. */
async function smi(rows: string, report: string, exitCode = 0): Promise<NvidiaSmi> {
  const command = join(directory, `nvidia-smi-${rows}-${String(exitCode)}`);
  const at = (name: string) => join(fixtures, 'nvidia-smi', name);
  const script = `#!/bin/sh\ncase "$1" in -q) cat '${at(report)}' ;; *) cat '${at(rows)}' ;; esac\nexit ${String(exitCode)}\n`;
  await writeFile(command, script);
  await chmod(command, 0o755);
  return new NvidiaSmi(command);
}

async function plugin(settings: Record<string, string> = {}, rows = 'gpus.csv', report = 'report.xml') {
  const logger = recordingLogger();
  const created = await createCudaPlugin({ settings, logger }, await smi(rows, report));
  return { cuda: created as DevicePlugin, logger };
}

const node = (cuda: DevicePlugin) =>
  createNode([A], {
    plugins: [cuda, new CpuPlugin({ fixedCores: 4 }), new MemoryPlugin({ fixedBytes: 16n * GIB })],
  });

test('GPUs as the driver tells of them', async () => {
  const { cuda } = await plugin();
  expect(await cuda.discover()).toEqual([
    {
      deviceId: '0',
      slotName: 'cuda.device',
      amount: '1',
      modelName: 'NVIDIA A100-SXM4-40GB',
      hardwareLocation: '00000000:07:00.0',
      memoryBytes: 40960n * MIB,
      processingUnits: 0,
      numaNode: null,
      data: { uuid: GPU(0) },
    },
    expect.objectContaining({ deviceId: '1', data: { uuid: GPU(1) } }),
  ]);
});

test('a kernel sees its GPU, by UUID, in a process and in a container', async () => {
  const agent = (await node((await plugin()).cuda)).forAgent(A);
  agent.allocate(kernel(1), request({ 'cuda.device': '1' }));
  const second = agent.allocate(kernel(2), request({ 'cuda.device': '1' }));
  expect(agent.environment(second)).toMatchObject({
    CUDA_VISIBLE_DEVICES: GPU(1),
    GPU_TYPE: 'cuda',
    GPU_CONFIG: '0:40g',
    TF_GPU_MEMORY_ALLOC: '0:40960',
  });
  expect(agent.deviceArguments(second)).toMatchObject({
    CpusetCpus: '1',
    DeviceRequests: [
      {
        Driver: 'nvidia',
        DeviceIDs: [GPU(1)],
        Capabilities: [['utility', 'compute', 'video', 'graphics', 'display']],
      },
    ],
  });
  expect(agent.attachedDevices(second)['cuda']).toEqual([
    { deviceId: '1', modelName: 'NVIDIA A100-SXM4-40GB', data: { memBytes: 40960n * MIB } },
  ]);
  expect(agent.resourceText(second, [])).toContain(
    'CUDA_GLOBAL_DEVICE_IDS=0:1\nCUDA_RESOURCE_VIRTUALIZED=0\n',
  );
});

test('a kernel without GPU sees none', async () => {
  const agent = (await node((await plugin()).cuda)).forAgent(A);
  const none = agent.allocate(kernel(1), request({}));
  expect(agent.environment(none)).toMatchObject({ CUDA_VISIBLE_DEVICES: '', NVIDIA_VISIBLE_DEVICES: 'void' });
  expect(agent.deviceArguments(none)).not.toHaveProperty('DeviceRequests');
});

test('shares', async () => {
  const { cuda } = await plugin({ allocation_mode: 'fractional', quantum_size: '0.25' });
  const agent = (await node(cuda)).forAgent(A);
  expect(agent.availableSlots()['cuda.shares']).toBe('2');
  const allocation = agent.allocate(kernel(1), request({ 'cuda.shares': '0.6' }));
  expect(allocation.allocations['cuda']).toEqual({ 'cuda.shares': { '1': '0.5' } });
});

test.each([['1'], [GPU(1)], [` 1 , ${GPU(7)}`]])('the mask %j leaves out the second GPU', async (mask) => {
  const { cuda } = await plugin({ device_mask: mask });
  expect((await cuda.discover()).map(({ deviceId }) => deviceId)).toEqual(['0']);
});

test('GPUs that cannot be used are left out, and health says why', async () => {
  const { cuda, logger } = await plugin({}, 'troubled.csv', 'troubled.xml');
  expect((await cuda.discover()).map(({ deviceId }) => deviceId)).toEqual(['0']);
  expect(logger.lines.map(({ fields }) => fields['index'])).toEqual(['1', '2']);
  expect(await cuda.hardwareInfo?.()).toMatchObject({
    status: 'degraded',
    statusInfo:
      'GPU 0: row remapping failed; GPU 1: the driver cannot reach it; ' +
      'GPU 2: it is in MIG mode, which this plugin does not divide up',
    metadata: { driver_version: '550.54.15', cuda_version: '12.4', gpu0: 'NVIDIA A100-SXM4-40GB' },
  });
});

test('healthy GPUs, and their measures', async () => {
  const { cuda } = await plugin();
  expect(await cuda.hardwareInfo?.()).toMatchObject({ status: 'healthy', statusInfo: null });
  expect(await cuda.measure?.()).toEqual([
    {
      key: 'cuda_mem',
      unit: 'bytes',
      value: String(1024n * MIB),
      capacity: String(81920n * MIB),
      perDevice: {
        '0': { value: String(1024n * MIB), capacity: String(40960n * MIB) },
        '1': { value: '0', capacity: String(40960n * MIB) },
      },
    },
    {
      key: 'cuda_util',
      unit: 'percent',
      value: '35',
      capacity: '200',
      perDevice: { '0': { value: '35', capacity: '100' }, '1': { value: '0', capacity: '100' } },
    },
  ]);
});

test('no tool: no plugin', async () => {
  const absent = new NvidiaSmi(join(directory, 'absent'));
  expect(await createCudaPlugin({ settings: {}, logger: silentLogger }, absent)).toBeUndefined();
  expect(await absent.report()).toBeNull();
});

test('a failing tool is an error, unless it has told of the other GPUs', async () => {
  const silent = await smi('README.md', 'report.xml', 9);
  await expect(silent.rows()).rejects.toThrow('nvidia-smi: Written by hand');
  const partly = await smi('troubled.csv', 'troubled.xml', 15);
  expect((await partly.rows())?.length).toBe(3);
});

test('no GPU at all', async () => {
  const { cuda } = await plugin({ device_mask: '0,1' });
  expect(await cuda.discover()).toEqual([]);
  expect(await cuda.measure?.()).toEqual([]);
  expect(await cuda.hardwareInfo?.()).toMatchObject({ status: 'offline', statusInfo: 'no GPU found' });
});

test.each<[Record<string, string>, string]>([
  [{ allocation_mode: 'whole' }, 'allocation_mode'],
  [{ quantum_size: '0' }, 'quantum_size'],
  [{ quantum_size: '2' }, 'quantum_size'],
])('the setting %j is refused', (settings, message) => {
  expect(() => cudaSettings(settings)).toThrow(message);
});
