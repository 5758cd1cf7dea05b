import type { KernelDetails } from '../../../../src/backends/backend.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../../src/core/ids.js';
import { factsOfFound, type FoundKernel } from '../../../../src/kernels/lifecycle/found-kernel.js';
import { planServices } from '../../../../src/kernels/lifecycle/service-ports.js';

const agent = { architecture: 'x86_64', nowMs: 5_000, scratchRoot: '/scratches' };

/** As the original's agent leaves it. */
const details: KernelDetails = {
  scratch: '/scratches/aaaaaaaa-0000-4000-8000-000000000001',
  labels: {
    'ai.backend.runtime-type': 'python',
    'ai.backend.service-ports': 'jupyter:http:8070,app:http:[8081,8082],9000:preopen:9000',
    'ai.backend.owner-user-id': '22222222-2222-4222-8222-222222222222',
    'ai.backend.owner-project-id': '',
    'ai.backend.internal.block-service-ports': '1',
  },
  image: 'registry.local/stable/python:3.11',
  hostname: 'main1',
  environment: { PATH: '/usr/bin', BACKENDAI_CLUSTER_ROLE: 'main' },
  published: [
    [2000, 30000],
    [2001, 30001],
    [2200, 30002],
    [7681, 30003],
    [9000, 30004],
    [8070, 30005],
    [8081, 30006],
    [8082, 30007],
    [7777, 30008],
  ].map(([containerPort = 0, hostPort = 0]) => ({ containerPort, hostPort })),
  network: null,
  shmBytes: 67108864,
  createdAtMs: 1_000,
};

const found: FoundKernel = {
  details,
  handle: {
    version: 1,
    backend: 'docker',
    agentId: parseAgentId('i-one'),
    kernelId: parseKernelId('aaaaaaaa-0000-4000-8000-000000000001'),
    sessionId: parseSessionId('bbbbbbbb-0000-4000-8000-000000000001'),
    containerId: asContainerId('c1'),
    state: {},
  },
  endpoints: { replIn: 'tcp://127.0.0.1:30000', replOut: 'tcp://127.0.0.1:30001' },
  allocation: { slots: { cpu: '1', mem: '268435456' }, allocations: { cpu: { cpu: { '0': '1' } } } },
  mounts: [
    { type: 'bind', source: '/scratches/k/work', target: '/home/work', permission: 'rw' },
    { type: 'bind', source: '/etc/localtime', target: '/etc/localtime', permission: 'ro' },
    { type: 'volume', source: 'deeplearning-samples', target: '/home/work/samples', permission: 'ro' },
    { type: 'bind', source: '/vfroot/data', target: '/home/work/data', permission: 'wd' },
    { type: 'bind', source: '/vfroot/outside', target: '/mnt/outside', permission: 'ro' },
    { type: 'bind', source: '/r/su-exec', target: '/opt/kernel/su-exec', permission: 'ro' },
  ],
  environ:
    'LOCAL_USER_ID=1100\nLOCAL_GROUP_ID=1100\nADDITIONAL_GIDS=44,20\nBACKENDAI_CLUSTER_HOST=sub2\nX=a=b\n',
  cluster: null,
};

test('a kernel is known by its labels, ports and files', () => {
  const facts = factsOfFound(found, agent);
  expect(facts).toMatchObject({
    agentId: 'i-one',
    state: { name: 'running' },
    createdAtMs: 1_000,
    scratchRoot: '/scratches',
    ports: { replIn: 30000, replOut: 30001 },
    allocation: { ...found.allocation, shmemBytes: '67108864' },
    startAnnounced: true,
    request: {
      imageRef: { canonical: details.image },
      config: {
        uid: 1100,
        mainGid: 1100,
        supplementaryGids: [44, 20],
        clusterHostname: 'sub2',
        ownerUserId: '22222222-2222-4222-8222-222222222222',
        ownerProjectId: null,
        environ: { X: 'a=b' },
        internalData: { blockServicePorts: true },
        mounts: [{ hostPath: '/vfroot/data', kernelPath: '/home/work/data', permission: 'wd' }],
      },
    },
  });
  expect(facts.ports?.booked).toEqual(details.published.map(({ hostPort }) => hostPort));
  expect(facts.servicePorts.map(({ name, hostPorts }) => [name, hostPorts])).toEqual([
    ['sshd', [30002]],
    ['ttyd', [30003]],
    ['jupyter', [30005]],
    ['app', [30006, 30007]],
    ['9000', [30004]],
    ['hostport1', [30008]],
  ]);
});

test('a restart of it would publish the same ports', () => {
  const { request, servicePorts } = factsOfFound(found, agent);
  const names = planServices(request.config).map(({ name, containerPorts }) => [name, containerPorts]);
  expect(names).toEqual(servicePorts.map(({ name, containerPorts }) => [name, containerPorts]));
});

test('folders are those of the list that newer kernels have', () => {
  const environ = 'BACKENDAI_PERSISTENT_PATHS=/mnt/outside:/home/work/gone\n';
  const { request } = factsOfFound({ ...found, environ }, agent);
  expect(request.config.mounts.map(({ kernelPath }) => kernelPath)).toEqual(['/mnt/outside']);
});

test('without environ.txt the environment is that of the container', () => {
  expect(factsOfFound({ ...found, environ: null }, agent).request.config.environ).toEqual(
    details.environment,
  );
});

test('the network is that of cluster.json, or the one that the container is on', () => {
  const onNetwork = { ...found, details: { ...details, network: 'bai-singlenode-1' } };
  expect(factsOfFound(onNetwork, agent).request.cluster.networkConfig).toEqual({
    mode: 'bridge',
    network_name: 'bai-singlenode-1',
  });
  const cluster = JSON.stringify({
    mode: 'multi-node',
    size: 2,
    replicas: { main: 1, sub: 1 },
    network_config: { mode: 'overlay', network_name: 'o' },
    ssh_keypair: { public_key: 'p', private_key: 's' },
    cluster_ssh_port_mapping: null,
  });
  expect(factsOfFound({ ...onNetwork, cluster }, agent).request.cluster).toEqual({
    mode: 'multi-node',
    size: 2,
    replicas: { main: 1, sub: 1 },
    networkConfig: { mode: 'overlay', network_name: 'o' },
    sshKeypair: { publicKey: 'p', privateKey: 's' },
    clusterSshPortMapping: null,
  });
});

test.each<[string, Partial<FoundKernel>, RegExp]>([
  ['no ports of its runner', { details: { ...details, published: [] } }, /no ports of a runner/],
  ['a damaged cluster.json', { cluster: '{' }, /cluster\.json cannot be read/],
])('a kernel with %s is refused', (_, changes, why) => {
  expect(() => factsOfFound({ ...found, ...changes }, agent)).toThrow(why);
});
