import { parseAgentId } from '../../../../src/core/ids.js';
import { environmentText } from '../../../../src/kernels/lifecycle/environment.js';
import type { DeviceNeeds } from '../../../../src/kernels/lifecycle/parts.js';
import { type PlanFacts, planKernel, specMounts } from '../../../../src/kernels/lifecycle/plan.js';
import type {
  KernelCreationConfig,
  KernelCreationRequest,
  VFolderMount,
} from '../../../../src/kernels/requests.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

const noNeeds: DeviceNeeds = { files: {}, mounts: [], hooks: [], networks: [], gids: [], syscalls: [] };
const facts: PlanFacts = {
  agentId: parseAgentId('i-one'),
  settings: { scratchRoot: '/scratches', bindHost: '10.0.0.5' },
  ownIdentity: { uid: 1100, gid: 1101 },
  limits: { cpuCores: [2, 3], memoryBytes: 268435456 },
  deviceEnvironment: {},
  deviceArguments: {},
  deviceNeeds: noNeeds,
  ports: { replIn: 30000, replOut: 30001, booked: [30000, 30001, 30002] },
  services: [
    { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30002], isInference: false },
  ],
};

const folder = (changes: Partial<VFolderMount> = {}): VFolderMount => ({
  name: 'data',
  vfid: 'user:1/2',
  vfsubpath: '.',
  hostPath: '/vfroot/data',
  kernelPath: '/home/work/data',
  permission: 'rw',
  usageMode: 'general',
  ...changes,
});

function planned(config: Partial<KernelCreationConfig> = {}, other: Partial<PlanFacts> = {}) {
  const request = kernelRequest({ config });
  return { request, plan: planKernel(request, { ...facts, ...other }) };
}

const withLabels = (labels: Record<string, string>): Partial<KernelCreationConfig> => ({
  image: { ...kernelRequest().config.image, labels },
});
const internal = (changes: Partial<KernelCreationConfig['internalData']>): Partial<KernelCreationConfig> => ({
  internalData: { ...kernelRequest().config.internalData, ...changes },
});

test('a plan holds everything that makes the container', () => {
  const { request, plan } = planned();
  const { kernelId, sessionId } = request;
  expect(plan).toEqual({
    agentId: 'i-one',
    kernelId,
    sessionId,
    imageCanonical: 'localhost/test/python:3.11-debian',
    imageIsLocal: false,
    isSudoEnabled: false,
    deviceArguments: {},
    runtimeType: 'python',
    runtimePath: '/usr/bin/python3',
    environment: {
      BACKENDAI_KERNEL_ID: kernelId,
      BACKENDAI_CLUSTER_REPLICAS: 'main:1',
      BACKENDAI_SESSION_NAME: 'a-session',
      LOCAL_USER_ID: '1100',
      LOCAL_GROUP_ID: '1101',
      OPENBLAS_NUM_THREADS: '2',
      OMP_NUM_THREADS: '2',
      GPU_COUNT: '0',
      N_GPUS: '0',
    },
    scratch: {
      root: `/scratches/${kernelId}`,
      config: `/scratches/${kernelId}/config`,
      work: `/scratches/${kernelId}/work`,
    },
    labels: {
      'ai.backend.kernel-id': kernelId,
      'ai.backend.session-id': sessionId,
      'ai.backend.owner': 'i-one',
      'ai.backend.agent-id': 'i-one',
      'ai.backend.owner-user-id': '22222222-2222-4222-8222-222222222222',
      'ai.backend.owner-project-id': '',
      'ai.backend.internal.block-service-ports': '0',
      'ai.backend.service-ports': 'jupyter:http:8070',
    },
    hostname: 'main1',
    limits: { cpuCores: [2, 3], memoryBytes: 268435456, shmBytes: 67108864 },
    identity: { uid: 1100, gid: 1101, supplementaryGids: [] },
    mounts: [],
    containerMounts: [],
    deviceNetworks: [],
    allowedSyscalls: [],
    ports: [
      { name: 'replin', containerPort: 2000, hostPort: 30000, bindHost: '127.0.0.1' },
      { name: 'replout', containerPort: 2001, hostPort: 30001, bindHost: '127.0.0.1' },
      { name: 'sshd', containerPort: 2200, hostPort: 30002, bindHost: '10.0.0.5' },
    ],
    replInPort: 30000,
    replOutPort: 30001,
  });
});

describe('labels', () => {
  test('list pre-opened ports after those of the image, and blocked service ports', () => {
    const { plan } = planned({ preopenPorts: [9000, 9001], ...internal({ blockServicePorts: true }) });
    expect(plan.labels).toMatchObject({
      'ai.backend.service-ports': 'jupyter:http:8070,9000:preopen:9000,9001:preopen:9001',
      'ai.backend.internal.block-service-ports': '1',
    });
  });

  test('an image without any gives the defaults', () => {
    const { plan } = planned(withLabels({}));
    expect(plan).toMatchObject({ runtimeType: 'app', runtimePath: null });
    expect(plan.labels['ai.backend.service-ports']).toBe('');
  });
});

describe('identity', () => {
  const noMatch = withLabels({ 'ai.backend.features': 'batch query' });
  test.each<[string, Partial<KernelCreationConfig>, KernelIdentityTexts]>([
    ['the agent’s with uid-match', {}, { uid: '1100', gid: '1101' }],
    ['uid-match is the default', withLabels({}), { uid: '1100', gid: '1101' }],
    ['none without uid-match', noMatch, {}],
    ['the request’s uid goes first', { uid: 2000 }, { uid: '2000', gid: '1101' }],
    ['the request’s gid adds the agent’s', { mainGid: 2001 }, { uid: '1100', gid: '2001', gids: '1101' }],
    ['the request’s gid alone without uid-match', { ...noMatch, mainGid: 2001 }, { gid: '2001' }],
    ['supplementary ones', { supplementaryGids: [44, 45] }, { uid: '1100', gid: '1101', gids: '44,45' }],
    [
      'supplementary ones join those of the environment',
      { supplementaryGids: [44, 45], environ: { ADDITIONAL_GIDS: '44,46' } },
      { uid: '1100', gid: '1101', gids: '44,46,45' },
    ],
  ])('%s', (_, config, { uid, gid, gids }) => {
    const { environment } = planned(config).plan;
    expect(environment['LOCAL_USER_ID']).toBe(uid);
    expect(environment['LOCAL_GROUP_ID']).toBe(gid);
    expect(environment['ADDITIONAL_GIDS']).toBe(gids);
  });
});

interface KernelIdentityTexts {
  readonly uid?: string;
  readonly gid?: string;
  readonly gids?: string;
}

describe('environment', () => {
  test('keeps a core count that the request gives, and takes the variables of devices', () => {
    const { plan } = planned(
      { environ: { OMP_NUM_THREADS: '7' } },
      { deviceEnvironment: { GPU_COUNT: '2', N_GPUS: '2' } },
    );
    expect(plan.environment).toMatchObject({
      OMP_NUM_THREADS: '7',
      OPENBLAS_NUM_THREADS: '2',
      GPU_COUNT: '2',
    });
  });

  test('names the folders that persist', () => {
    const { plan } = planned({ mounts: [folder(), folder({ name: 'b', kernelPath: '/b' })] });
    expect(plan.environment['BACKENDAI_PERSISTENT_PATHS']).toBe('/home/work/data:/b');
    const logs = planned({
      ...internal({ preventVfolderMounts: true }),
      mounts: [folder(), folder({ name: '.logs', kernelPath: '/home/work/.logs' })],
    });
    expect(logs.plan.environment['BACKENDAI_PERSISTENT_PATHS']).toBe('/home/work/.logs');
  });

  test.each([
    [{ '': 'x' }, /name "" is empty/],
    [{ 'A=B': 'x' }, /holds '='/],
    [{ 'A\nB': 'x' }, /line break/],
    [{ A: 'x\0y' }, /NUL/],
  ])('%j is refused', (environ, message) => {
    expect(() => planned({ environ })).toThrow(message);
  });

  test('as a file is one line a variable, whatever the value', () => {
    expect(environmentText({ A: 'x=y', B: 'two\r\nlines\n', C: 'ünïcode', D: '' })).toBe(
      'A=x=y\nB=twolines\nC=ünïcode\nD=\n',
    );
  });
});

describe('mounts', () => {
  const { scratch } = planned().plan;
  const targets = (request: KernelCreationRequest) =>
    specMounts(request.config, scratch).map(({ target, permission }) => `${target} ${permission}`);

  test('are the scratch directories and the folders; to delete in a folder is to write there', () => {
    const { request, plan } = planned({
      mounts: [
        folder(),
        folder({ name: 'ro', kernelPath: '/ro', permission: 'ro' }),
        folder({ name: 'wd', kernelPath: '/wd', permission: 'wd' }),
      ],
    });
    expect(plan.mounts.map(({ target, permission }) => `${target} ${permission}`)).toEqual([
      '/home/work/data rw',
      '/ro ro',
      '/wd rw',
    ]);
    expect(targets(request)).toEqual([
      '/home/config ro',
      '/home/work rw',
      '/home/work/data rw',
      '/ro ro',
      '/wd wd',
    ]);
  });

  test('are only the logs when folders are held back', () => {
    const { plan } = planned({
      mounts: [folder(), folder({ name: '.logs', kernelPath: '/home/work/.logs' })],
      ...internal({ preventVfolderMounts: true }),
    });
    expect(plan.mounts.map(({ target }) => target)).toEqual(['/home/work/.logs']);
  });

  test.each([
    [[folder({ kernelPath: '/home/work' })], /\/home\/work is already in use/],
    [[folder({ kernelPath: '/home/work/' })], /\/home\/work is already in use/],
    [[folder({ kernelPath: '/home/x/../config' })], /\/home\/config is already in use/],
    [[folder({ kernelPath: '/' })], /\/ is already in use/],
    [[folder(), folder({ name: 'twin' })], /folder 'twin'.*already in use/],
    [[folder({ kernelPath: 'data' })], /Mount target must be an absolute path/],
    [[folder({ hostPath: 'data/x' })], /Mount source must be an absolute path/],
  ])('%j are refused', (mounts, message) => {
    expect(() => planned({ mounts })).toThrow(message);
  });
});

test('shared memory has a size when nobody asks for one', () => {
  const resourceOpts = { shmemBytes: null, allowFractionalResourceFragmentation: true };
  expect(planned({ resourceOpts }).plan.limits.shmBytes).toBe(64 * 1024 * 1024);
});

describe('the network', () => {
  test('is the one of the session, as it was planned', () => {
    const network = { mode: 'named', name: 'bai-1', aliases: ['main1'] } as const;
    expect(planned({}, { network }).plan.network).toEqual(network);
    expect(planned({}, { network: null }).plan.network).toBeUndefined();
  });

  test('of kernels without a session network is the agent’s', () => {
    const { plan } = planned({}, { settings: { ...facts.settings, alternativeBridge: 'br-lab' } });
    expect(plan.alternativeBridge).toBe('br-lab');
    expect(plan.network).toBeUndefined();
  });
});

describe('ports', () => {
  const ttyd = {
    name: 'ttyd',
    protocol: 'http',
    containerPorts: [7681],
    hostPorts: [30003],
    isInference: false,
  } as const;

  test('of protected services are open to this machine only', () => {
    const settings = { ...facts.settings, protectedServices: ['ttyd'] };
    const { plan } = planned({}, { settings, services: [...facts.services, ttyd] });
    expect(plan.ports.map(({ name, bindHost }) => [name, bindHost])).toEqual([
      ['replin', '127.0.0.1'],
      ['replout', '127.0.0.1'],
      ['sshd', '10.0.0.5'],
      ['ttyd', '127.0.0.1'],
    ]);
  });

  test.each([
    [{ ...ttyd, containerPorts: [2200] }, 'port 2200 of ttyd is a port of another service, too'],
    [{ ...ttyd, containerPorts: [2001] }, 'port 2001 of ttyd is a port of another service, too'],
    [{ ...ttyd, hostPorts: [30002] }, 'host port 30002 of ttyd is a host port of another service, too'],
  ])('that are there twice are refused: %j', (service, message) => {
    expect(() => planned({}, { services: [...facts.services, service] })).toThrow(message);
  });
});

describe('devices', () => {
  const needs: DeviceNeeds = {
    ...noNeeds,
    hooks: ['/usr/lib/cuda/libhook.so', '/usr/lib/cuda/libother.so'],
    mounts: [{ source: '/dev/shm/cuda', target: '/opt/cuda', permission: 'rw' }],
    networks: ['rdma'],
    gids: [44, 109],
    syscalls: ['perf_event_open'],
  };

  test('give the kernel hooks, mounts, groups, networks and system calls', () => {
    const environ = { ...kernelRequest().config.environ, LD_PRELOAD: '/own.so' };
    const { plan } = planned({ environ, supplementaryGids: [44] }, { deviceNeeds: needs });
    expect(plan.environment).toMatchObject({
      LD_PRELOAD: '/own.so:/usr/lib/cuda/libhook.so:/usr/lib/cuda/libother.so',
      ADDITIONAL_GIDS: '44,109',
    });
    expect(environmentText(plan.environment)).toContain('LD_PRELOAD=/own.so:/usr/lib/cuda/libhook.so');
    expect(plan.containerMounts).toEqual([
      { source: '/usr/lib/cuda/libhook.so', target: '/usr/lib/cuda/libhook.so', permission: 'ro' },
      { source: '/usr/lib/cuda/libother.so', target: '/usr/lib/cuda/libother.so', permission: 'ro' },
      { source: '/dev/shm/cuda', target: '/opt/cuda', permission: 'rw' },
    ]);
    expect(plan.identity.supplementaryGids).toEqual([44, 109]);
    expect(plan).toMatchObject({ deviceNetworks: ['rdma'], allowedSyscalls: ['perf_event_open'] });
  });

  test('with a hook that is not found everywhere are refused', () => {
    expect(() => planned({}, { deviceNeeds: { ...needs, hooks: ['libhook.so'] } })).toThrow(
      "hook 'libhook.so' of a device is not an absolute path",
    );
  });
});

describe('scratch', () => {
  test('of type memory has a /tmp of its own, listed after the work directory', () => {
    const settings = { ...facts.settings, scratchType: 'memory' } as const;
    const { request, plan } = planned({}, { settings });
    expect(plan.scratch.tmp).toBe(`/scratches/${request.kernelId}_tmp`);
    expect(specMounts(request.config, plan.scratch)[2]).toEqual({
      type: 'bind',
      source: plan.scratch.tmp,
      target: '/tmp',
      permission: 'rw',
    });
  });
});

describe('sockets of the machine', () => {
  const settings = { ...facts.settings, socketDirectory: '/run/ipc/proxy' };

  test('are relayed, each under a name that follows from kernel and socket', () => {
    const { request, plan } = planned(
      internal({ domainSocketProxies: ['/run/docker.sock', '/run/docker.sock'] }),
      { settings },
    );
    const [mount, ...more] = plan.containerMounts ?? [];
    expect(mount).toEqual({
      source: expect.stringMatching(/^\/run\/ipc\/proxy\/[0-9a-f]{24}\.sock$/),
      behind: '/run/docker.sock',
      target: '/run/docker.sock',
      permission: 'rw',
    });
    expect(more).toEqual([]);
    expect(planKernel(request, { ...facts, settings }).containerMounts).toEqual([mount]);
  });

  test('without an absolute path are refused', () => {
    expect(() => planned(internal({ domainSocketProxies: ['docker.sock'] }), { settings })).toThrow(
      "domain_socket_proxies: 'docker.sock' is not an absolute path",
    );
  });
});
