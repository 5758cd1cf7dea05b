import {
  containerNameOf,
  containerSpecOf,
  hostConfigOf,
  type ContainerSettings,
} from '../../../../src/backends/docker/container-spec.js';
import { wantsSamples } from '../../../../src/backends/docker/container-mounts.js';
import { checkPorts, publishedOf } from '../../../../src/backends/docker/container-ports.js';
import { checkProfile } from '../../../../src/backends/docker/container-security.js';
import type { Container } from '../../../../src/backends/docker/engine-schemas.js';
import type { KernelPlan } from '../../../../src/backends/backend.js';
import { parseAgentId, parseKernelId, parseSessionId } from '../../../../src/core/ids.js';

const KERNEL = '0123abcd-0000-4000-8000-000000000001';
const plan: KernelPlan = {
  agentId: parseAgentId('i-node01'),
  kernelId: parseKernelId(KERNEL),
  sessionId: parseSessionId('0123abcd-0000-4000-8000-000000000002'),
  imageCanonical: 'registry.example:5000/stable/python-ff:22.02-py38-cuda11',
  imageIsLocal: false,
  isSudoEnabled: false,
  deviceArguments: {},
  runtimeType: 'python',
  runtimePath: '/usr/bin/python3',
  environment: { A: '1', TEXT: 'a=b\nc' },
  scratch: { root: '/scratch/k', config: '/scratch/k/config', work: '/scratch/k/work' },
  labels: { 'ai.backend.kernelspec': '1' },
  hostname: 'main1',
  limits: { cpuCores: [10, 2, 3], memoryBytes: 1_073_741_824, shmBytes: 67_108_864 },
  identity: { uid: 1000, gid: 1001, supplementaryGids: [42, 2000] },
  mounts: [
    { source: '/vfroot/data', target: '/home/work/data', permission: 'ro' },
    { source: 'deeplearning-samples', target: '/home/work/samples', permission: 'ro' },
  ],
  ports: [
    { name: 'replin', containerPort: 2000, hostPort: 30000, bindHost: '127.0.0.1' },
    { name: 'sshd', containerPort: 2200, hostPort: 30002, bindHost: '10.0.0.1' },
    { name: 'app', containerPort: 8080, hostPort: 30003, bindHost: '0.0.0.0' },
  ],
  replInPort: 30000,
  replOutPort: 30001,
};
const unlimited = { soft: null, hard: null };
const settings: ContainerSettings = {
  runner: { directory: '/volumes/runner-1', loader: 'ld-linux-x86-64.so.2' },
  ownIdentity: { uid: 500, gid: 501 },
  ownLimits: { nofile: unlimited, memlock: unlimited },
  hostMounts: [{ source: '/etc/localtime', target: '/etc/localtime', permission: 'ro' }],
  hostDevices: [],
  logs: { driver: 'local', maxBytes: 10 * 1024 * 1024 },
  hardening: 'original',
  pidsLimit: null,
  seccompProfile: null,
  overrides: [],
};
const spec = (changes: Partial<KernelPlan> = {}, others: Partial<ContainerSettings> = {}) =>
  containerSpecOf({ ...plan, ...changes }, { label: 'value' }, { ...settings, ...others });
const hostConfig = (changes: Partial<KernelPlan> = {}, others: Partial<ContainerSettings> = {}) =>
  hostConfigOf({ ...plan, ...changes }, { ...settings, ...others });

test('the name holds the last part of the image and the kernel', () => {
  const name = (imageCanonical: string) => containerNameOf({ ...plan, imageCanonical });
  expect(name(plan.imageCanonical)).toBe(`kernel.python-ff.${KERNEL}`);
  expect(name('python')).toBe(`kernel.python.${KERNEL}`);
  expect(name('registry:5000/a/b')).toBe(`kernel.b.${KERNEL}`);
  expect(name('a/b@sha256:00ff')).toBe(`kernel.b.${KERNEL}`);
  expect(name('a/b c:1')).toBe(`kernel.b-c.${KERNEL}`);
});

test('the container as a whole', () => {
  expect(spec()).toEqual({
    Image: plan.imageCanonical,
    Tty: true,
    OpenStdin: true,
    StopSignal: 'SIGINT',
    ExposedPorts: { '2000/tcp': {}, '2001/tcp': {}, '2200/tcp': {}, '8080/tcp': {} },
    Entrypoint: [
      '/opt/splenium/ld-linux-x86-64.so.2',
      '--library-path',
      '/opt/splenium/lib',
      '/opt/splenium/node',
      '--import',
      '/opt/splenium/exec-path.mjs',
      '/opt/splenium/entrypoint.mjs',
      '/opt/splenium/kernel-runner.mjs',
    ],
    Cmd: [
      ...['--repl-in', 'tcp://*:2000', '--repl-out', 'tcp://*:2001'],
      ...['--runtime', 'python', '--runtime-path', '/usr/bin/python3'],
      ...['--work', '/home/work', '--config', '/home/config', '--helpers', '/opt/kernel'],
    ],
    Env: ['A=1', 'TEXT=a=b\nc', 'LOCAL_USER_ID=1000', 'LOCAL_GROUP_ID=1001', 'ADDITIONAL_GIDS=42,2000'],
    User: '0:0',
    WorkingDir: '/home/work',
    Hostname: 'main1',
    Labels: { label: 'value' },
    HostConfig: {
      Init: true,
      Privileged: false,
      PublishAllPorts: false,
      PortBindings: {
        '2000/tcp': [{ HostPort: '30000', HostIp: '127.0.0.1' }],
        '2001/tcp': [{ HostPort: '30001', HostIp: '127.0.0.1' }],
        '2200/tcp': [{ HostPort: '30002', HostIp: '10.0.0.1' }],
        '8080/tcp': [{ HostPort: '30003', HostIp: '0.0.0.0' }],
      },
      CapAdd: ['IPC_LOCK', 'SYS_NICE'],
      SecurityOpt: [],
      Ulimits: [
        { Name: 'nofile', Soft: 1_048_576, Hard: 1_048_576 },
        { Name: 'memlock', Soft: -1, Hard: -1 },
      ],
      LogConfig: { Type: 'local', Config: { 'max-size': '2m', 'max-file': '5', compress: 'false' } },
      Mounts: [
        { Type: 'bind', Source: '/scratch/k/config', Target: '/home/config', ReadOnly: true },
        { Type: 'bind', Source: '/scratch/k/work', Target: '/home/work', ReadOnly: false },
        { Type: 'bind', Source: '/etc/localtime', Target: '/etc/localtime', ReadOnly: true },
        { Type: 'bind', Source: '/vfroot/data', Target: '/home/work/data', ReadOnly: true },
        { Type: 'volume', Source: 'deeplearning-samples', Target: '/home/work/samples', ReadOnly: true },
        { Type: 'bind', Source: '/volumes/runner-1', Target: '/opt/splenium', ReadOnly: true },
      ],
      GroupAdd: [],
      Devices: [],
      CpusetCpus: '2,3,10',
      Memory: 1_073_741_824,
      MemorySwap: 1_073_741_824,
      ShmSize: 67_108_864,
    },
  });
});

test('strict hardening starts the runner as the user, who is 9001 when nobody says who', () => {
  const user = (identity: KernelPlan['identity'], environment = {}) =>
    spec({ identity, environment }, { hardening: 'strict' }).User;
  expect(user({ uid: null, gid: null, supplementaryGids: [] })).toBe('9001:9001');
  expect(user({ uid: null, gid: null, supplementaryGids: [] }, { LOCAL_USER_ID: '5' })).toBe('5:9001');
  expect(user({ uid: 7, gid: 8, supplementaryGids: [] })).toBe('7:8');
  expect(user({ uid: 0, gid: 0, supplementaryGids: [] })).toBe('0:0');
  expect(hostConfig({}, { hardening: 'strict' }).GroupAdd).toEqual(['42', '2000']);
});

test('without an identity the entry point is told the default, and a variable of the plan stays', () => {
  const identity = { uid: null, gid: null, supplementaryGids: [] };
  expect(spec({ identity, environment: {} }).Env).toEqual(['LOCAL_USER_ID=9001', 'LOCAL_GROUP_ID=9001']);
  expect(spec({ identity, environment: { LOCAL_USER_ID: '5' } }).Env).toEqual([
    'LOCAL_USER_ID=5',
    'LOCAL_GROUP_ID=9001',
  ]);
});

test('sudo is asked of the entry point', () => {
  expect(spec({ isSudoEnabled: true }).Entrypoint?.slice(-2)).toEqual([
    '--sudo',
    '/opt/splenium/kernel-runner.mjs',
  ]);
});

test('limits that are absent are not asked for', () => {
  const config = hostConfig({ limits: { cpuCores: [], memoryBytes: 0, shmBytes: 0 } });
  for (const key of ['CpusetCpus', 'Memory', 'MemorySwap', 'ShmSize', 'PidsLimit', 'NetworkMode'])
    expect(config).not.toHaveProperty(key);
});

test('no limit of a container is above the agent own', () => {
  const nofile = { soft: 1024, hard: 4096 };
  const memlock = { soft: 65_536, hard: null };
  expect(hostConfig({}, { ownLimits: { nofile, memlock } }).Ulimits).toEqual([
    { Name: 'nofile', Soft: 1024, Hard: 4096 },
    { Name: 'memlock', Soft: 65_536, Hard: -1 },
  ]);
});

test('strict hardening leaves the capabilities of the original and no way to more', () => {
  expect(hostConfig({}, { hardening: 'strict', pidsLimit: 100, seccompProfile: '{"x":1}' })).toMatchObject({
    CapDrop: ['ALL'],
    CapAdd: ['IPC_LOCK', 'SYS_NICE'],
    SecurityOpt: ['seccomp={"x":1}', 'no-new-privileges:true'],
    PidsLimit: 100,
  });
});

test('log files share what they may take', () => {
  const size = (maxBytes: number): unknown =>
    (
      hostConfig({}, { logs: { driver: 'json-file', maxBytes } }).LogConfig?.Config as Record<string, unknown>
    )['max-size'];
  expect(size(5 * 1024 * 100)).toBe('100k');
  expect(size(5003)).toBe('1000');
  expect(size(1)).toBe('1');
});

test('a named network, with the names that others find the kernel by', () => {
  const network = { mode: 'named', name: 'bai-singlenode-x', aliases: ['main1'] } as const;
  expect(spec({ network }).HostConfig?.NetworkMode).toBe('bai-singlenode-x');
  // The agent's own bridge overrides the mode, and the session's network is joined all the same.
  const made = spec({ network, alternativeBridge: 'other' });
  expect(made.HostConfig?.NetworkMode).toBe('other');
  expect(made.NetworkingConfig).toEqual({
    EndpointsConfig: { 'bai-singlenode-x': { Aliases: ['main1'] } },
  });
  expect(spec({ alternativeBridge: 'other' }).HostConfig?.NetworkMode).toBe('other');
  expect(spec().NetworkingConfig).toBeUndefined();
});

test('on the network of the machine the runner takes the ports of the plan, for this machine only', () => {
  const made = spec({ network: { mode: 'host', hosts: { sub1: '10.0.0.2' } } });
  expect(made.Cmd?.slice(0, 4)).toEqual([
    ...['--repl-in', 'tcp://127.0.0.1:30000', '--repl-out', 'tcp://127.0.0.1:30001'],
  ]);
  expect(made.HostConfig).toMatchObject({ NetworkMode: 'host', ExtraHosts: ['sub1:10.0.0.2'] });
  expect(made.HostConfig).not.toHaveProperty('PortBindings');
  expect(made).not.toHaveProperty('Hostname');
});

test('a network plugin has its say on the container, before the operator, and may publish the ports itself', () => {
  const containerOptions = {
    Env: ['FABRIC=1'],
    Hostname: 'fabric-1',
    HostConfig: { NetworkMode: 'net-7', CapAdd: ['NET_RAW'] },
  };
  const made = spec(
    { network: { mode: 'options', containerOptions, publishesPorts: true }, alternativeBridge: 'other' },
    { overrides: [{ Hostname: 'operator' }] },
  );
  expect(made.Hostname).toBe('operator');
  expect(made.Env).toContain('FABRIC=1');
  expect(made.HostConfig).toMatchObject({ NetworkMode: 'net-7' });
  expect(made.HostConfig?.CapAdd).toContain('NET_RAW');
  expect(made.HostConfig).not.toHaveProperty('PortBindings');
  const published = spec({ network: { mode: 'options', containerOptions: {}, publishesPorts: false } });
  expect(published.HostConfig).toHaveProperty('PortBindings');
});

test('the operator has the last word: maps are merged, lists are longer, the rest is replaced', () => {
  const made = spec(
    {},
    {
      hostDevices: ['/dev/infiniband'],
      overrides: [
        { Hostname: 'other', HostConfig: { CapAdd: ['NET_ADMIN'], Memory: 5 } },
        { HostConfig: { Memory: 6, Runtime: 'sysbox' } },
      ],
    },
  );
  expect(made.Hostname).toBe('other');
  expect(made.HostConfig).toMatchObject({
    CapAdd: ['IPC_LOCK', 'SYS_NICE', 'NET_ADMIN'],
    Memory: 6,
    MemorySwap: 1_073_741_824,
    Runtime: 'sysbox',
    Devices: [
      { PathOnHost: '/dev/infiniband', PathInContainer: '/dev/infiniband', CgroupPermissions: 'rwm' },
    ],
  });
});

test('devices come over ours and under the operator’s, with lists joined', () => {
  const made = spec(
    {
      deviceArguments: {
        CpusetCpus: '4,5',
        Memory: 1_006_632_960,
        MemorySwap: 1_006_632_960,
        ShmSize: 67_108_864,
        CapAdd: ['SYS_ADMIN'],
        Devices: [{ PathOnHost: '/dev/npu0', PathInContainer: '/dev/npu0', CgroupPermissions: 'rw' }],
        DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: ['GPU-1'], Capabilities: [['compute']] }],
      },
    },
    {
      hostDevices: ['/dev/infiniband'],
      overrides: [{ HostConfig: { Memory: 5, DeviceRequests: [{ Driver: 'cdi', DeviceIDs: ['x/y=z'] }] } }],
    },
  );
  expect(made.HostConfig).toMatchObject({
    CpusetCpus: '4,5',
    Memory: 5,
    MemorySwap: 1_006_632_960,
    CapAdd: ['IPC_LOCK', 'SYS_NICE', 'SYS_ADMIN'],
    Devices: [
      { PathOnHost: '/dev/infiniband', PathInContainer: '/dev/infiniband', CgroupPermissions: 'rwm' },
      { PathOnHost: '/dev/npu0', PathInContainer: '/dev/npu0', CgroupPermissions: 'rw' },
    ],
    DeviceRequests: [
      { Driver: 'nvidia', DeviceIDs: ['GPU-1'], Capabilities: [['compute']] },
      { Driver: 'cdi', DeviceIDs: ['x/y=z'] },
    ],
  });
});

test.each([
  ['registry.example:5000/stable/python:3', 'stable/python:3'],
  ['localhost/python:3', 'python:3'],
  ['cr.example.org/a/b:1', 'a/b:1'],
  ['stable/python:3', 'stable/python:3'],
  ['python:3', 'python:3'],
])('an image that was built here is asked for without its registry: %s', (imageCanonical, name) => {
  expect(spec({ imageCanonical, imageIsLocal: true }).Image).toBe(name);
  expect(spec({ imageCanonical, imageIsLocal: false }).Image).toBe(imageCanonical);
});

test('mounts stand in the order of the original', () => {
  const made = containerSpecOf(
    {
      ...plan,
      scratch: { ...plan.scratch, tmp: '/scratch/k_tmp' },
      containerMounts: [{ source: '/run/proxy/1.sock', target: '/run/docker.sock', permission: 'rw' }],
    },
    {},
    settings,
    { hasSamples: true, gatewaySubnet: null },
  );
  expect(made.HostConfig?.Mounts?.map(({ Source, Target }) => `${Source}:${Target}`)).toEqual([
    '/scratch/k/config:/home/config',
    '/scratch/k/work:/home/work',
    '/scratch/k_tmp:/tmp',
    '/etc/localtime:/etc/localtime',
    'deeplearning-samples:/home/work/samples',
    '/vfroot/data:/home/work/data',
    'deeplearning-samples:/home/work/samples',
    '/volumes/runner-1:/opt/splenium',
    '/run/proxy/1.sock:/run/docker.sock',
  ]);
});

test.each([
  ['python-tensorflow:2.15', true],
  ['registry/lab/pytorch:2', true],
  ['tensorflow/python:3', false],
  ['python:3', false],
])('samples are for images of a framework: %s', (imageCanonical, wanted) => {
  expect(wantsSamples({ imageCanonical })).toBe(wanted);
});

test('MPI leaves the bridge of the swarm alone where a network spans machines', () => {
  const variable = 'OMPI_MCA_btl_tcp_if_exclude=127.0.0.1/32,172.18.0.0/16';
  const env = (network: KernelPlan['network'], gatewaySubnet: string | null) =>
    containerSpecOf({ ...plan, ...(network ? { network } : {}) }, {}, settings, {
      hasSamples: false,
      gatewaySubnet,
    }).Env;
  const overlay = { mode: 'named', name: 'bai-2', aliases: ['main1'], spansMachines: true } as const;
  expect(env(overlay, '172.18.0.0/16')).toContain(variable);
  expect(env({ mode: 'host', hosts: {} }, '172.18.0.0/16')).toContain(variable);
  expect(env({ ...overlay, spansMachines: false }, '172.18.0.0/16')).not.toContain(variable);
  expect(env(overlay, null)?.join()).not.toContain('OMPI');
});

test('a session with sudo keeps what strict hardening takes from the others, and starts as root', () => {
  const strict = { hardening: 'strict', pidsLimit: 100 } as const;
  const open = spec({ isSudoEnabled: true }, strict);
  expect(open.HostConfig).not.toHaveProperty('CapDrop');
  expect(open.HostConfig).toMatchObject({ SecurityOpt: [], PidsLimit: 100 });
  expect(open.User).toBe('0:0');
  expect(spec({ isSudoEnabled: false }, strict).User).toBe('1000:1001');
});

describe('a seccomp profile', () => {
  const profile = JSON.stringify({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'] }] });

  test('gets one rule more for the system calls of devices', () => {
    const allowedSyscalls = ['perf_event_open', 'bpf', 'bpf'];
    const [option] = hostConfig({ allowedSyscalls }, { seccompProfile: profile }).SecurityOpt as string[];
    expect(JSON.parse(String(option).replace('seccomp=', ''))).toEqual({
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [
        { names: ['read'] },
        { names: ['bpf', 'perf_event_open'], action: 'SCMP_ACT_ALLOW', args: [] },
      ],
    });
    expect(hostConfig({ allowedSyscalls }).SecurityOpt).toEqual([]);
  });

  test('is checked when it is read', () => {
    expect(() => {
      checkProfile('{"syscalls": 1}', '/etc/profile.json');
    }).toThrow(/^\/etc\/profile.json is no seccomp profile/);
    checkProfile(profile, '/etc/profile.json');
  });
});

describe('published ports', () => {
  const reserved = publishedOf(plan);
  const container = (ports: Readonly<Record<string, number[]>>) =>
    ({ Id: 'c0ffee', NetworkSettings: { ports, addresses: [], networks: [] } }) as unknown as Container;
  const asReserved = { '2000/tcp': [30000], '2001/tcp': [30001], '2200/tcp': [30002], '8080/tcp': [30003] };

  test('are compared with the reservation', () => {
    expect(reserved).toEqual(asReserved);
    checkPorts(container(asReserved), reserved);
    checkPorts(container({ ...asReserved, '9000/tcp': [1] }), reserved);
    checkPorts(container({}), {});
  });

  test.each([
    [{ ...asReserved, '2001/tcp': [] }, 'the engine has not published port 2001/tcp'],
    [{ ...asReserved, '2200/tcp': [40000] }, 'port 2200/tcp is published at 40000 and not at 30002'],
  ])('that differ are told: %j', (ports, message) => {
    expect(() => {
      checkPorts(container(ports), reserved);
    }).toThrow(message);
  });
});
