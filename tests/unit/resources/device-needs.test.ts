import { type DevicePlugin, MemoryPlugin, CpuPlugin } from '../../../src/resources/index.js';
import { A, createNode, GIB, gpus, kernel, request, wholeGpus } from './test-node.js';

const intrinsic = (sharedMemory: 'subtracted' | 'included' = 'subtracted') => [
  new CpuPlugin({ fixedCores: 8 }),
  new MemoryPlugin({ fixedBytes: 16n * GIB, sharedMemory }),
];

/** GPUs whose containers need something of everything. */
function demanding(): DevicePlugin {
  const plugin = wholeGpus(gpus(2));
  return Object.assign(plugin, {
    dockerArguments: ({ devices }: Parameters<NonNullable<DevicePlugin['dockerArguments']>>[0]) => ({
      Devices: devices.map(({ device }) => ({ PathOnHost: `/dev/gpu${device.deviceId}` })),
    }),
    files: () => ({ 'gpu.json': '{}' }),
    mounts: (_: unknown, directory: string) => [
      { source: `${directory}/gpu.json`, target: '/etc/gpu.json', permission: 'ro' as const },
    ],
    hooks: () => ['/usr/lib/libgpu.so', '/usr/lib/libgpu.so'],
    networks: () => ['gpu-fabric'],
    privileges: () => ({ gids: [44], syscalls: ['perf_event_open'] }),
  });
}

const directoryOf = (name: string) => `/scratch/config/${name}`;

test('devices say what their container needs, but only those that the kernel has', async () => {
  const node = await createNode([A], { plugins: [...intrinsic(), demanding()] });
  const agent = node.forAgent(A);
  const without = agent.allocate(kernel(1), request({}));
  expect(agent.deviceNeeds(without, directoryOf)).toEqual({
    files: {},
    mounts: [],
    hooks: [],
    networks: [],
    gids: [],
    syscalls: [],
  });
  const having = agent.allocate(kernel(2), request({ 'cuda.device': '1' }));
  expect(agent.deviceNeeds(having, directoryOf)).toEqual({
    files: { cuda: { 'gpu.json': '{}' } },
    mounts: [{ source: '/scratch/config/cuda/gpu.json', target: '/etc/gpu.json', permission: 'ro' }],
    hooks: ['/usr/lib/libgpu.so'],
    networks: ['gpu-fabric'],
    gids: [44],
    syscalls: ['perf_event_open'],
  });
  expect(agent.deviceArguments(having)).toMatchObject({
    Devices: [{ PathOnHost: '/dev/gpu0' }],
    CpusetCpus: '1',
  });
});

test('a family without files has its directory all the same', async () => {
  const node = await createNode([A], { plugins: [...intrinsic(), wholeGpus(gpus(1))] });
  const agent = node.forAgent(A);
  const allocation = agent.allocate(kernel(1), request({ 'cuda.device': '1' }));
  expect(agent.deviceNeeds(allocation, directoryOf).files).toEqual({ cuda: {} });
});

describe('memory of a container', () => {
  const shmemBytes = GIB / 4n;
  const limitsOf = async (sharedMemory: 'subtracted' | 'included', shmem: bigint | null) => {
    const agent = (await createNode([A], { plugins: intrinsic(sharedMemory) })).forAgent(A);
    return agent.deviceArguments(agent.allocate(kernel(1), request({}, { shmemBytes: shmem })));
  };

  test.each([
    ['25.17 takes shared memory out of it', 'subtracted', Number(GIB - shmemBytes)],
    ['26.9 leaves it in', 'included', Number(GIB)],
  ] as const)('%s', async (_, sharedMemory, bytes) => {
    expect(await limitsOf(sharedMemory, shmemBytes)).toMatchObject({
      Memory: bytes,
      MemorySwap: bytes,
      ShmSize: Number(shmemBytes),
    });
  });

  test('is all of it when nobody asks for shared memory', async () => {
    const asked = await limitsOf('subtracted', null);
    expect(asked).toMatchObject({ Memory: Number(GIB), MemorySwap: Number(GIB) });
    expect(asked).not.toHaveProperty('ShmSize');
  });

  test('that shared memory would use up is refused', async () => {
    await expect(limitsOf('subtracted', GIB)).rejects.toThrow(/does not fit into/);
  });
});
