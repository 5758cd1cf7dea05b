import {
  containerNameOf,
  containerSpecOf,
  hostConfigOf,
  type ContainerSettings,
} from '../../../../src/backends/docker/container-spec.js';
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
  defaultNetwork: null,
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
      ...['--work', '/home/work', '--config', '/home/config'],
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
  const made = spec({ network }, { defaultNetwork: 'other' });
  expect(made.HostConfig?.NetworkMode).toBe('bai-singlenode-x');
  expect(made.NetworkingConfig).toEqual({
    EndpointsConfig: { 'bai-singlenode-x': { Aliases: ['main1'] } },
  });
  expect(spec({}, { defaultNetwork: 'other' }).HostConfig?.NetworkMode).toBe('other');
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
