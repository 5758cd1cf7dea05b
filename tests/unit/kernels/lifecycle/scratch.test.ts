import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAgentId } from '../../../../src/core/ids.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { planKernel } from '../../../../src/kernels/lifecycle/plan.js';
import { configFiles, planScratchFiles } from '../../../../src/kernels/lifecycle/plan-scratch.js';
import {
  appendContainerId,
  prepareScratch,
  removeScratch,
  ScratchOwner,
  writeScratchFiles,
} from '../../../../src/kernels/lifecycle/scratch.js';
import type { KernelCreationConfig, KernelCreationRequest } from '../../../../src/kernels/requests.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-scratch-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const owner = new ScratchOwner({ uid: null, gid: null }, silentLogger);
const internal = (changes: Partial<KernelCreationConfig['internalData']>): Partial<KernelCreationConfig> => ({
  internalData: { ...kernelRequest().config.internalData, ...changes },
});

function planOf(request: KernelCreationRequest) {
  return planKernel(request, {
    agentId: parseAgentId('i-one'),
    settings: { scratchRoot: join(directory, 'scratches'), bindHost: '127.0.0.1' },
    ownIdentity: { uid: null, gid: null },
    limits: { cpuCores: [0], memoryBytes: 1 },
    deviceEnvironment: {},
    deviceArguments: {},
    deviceNeeds: { files: {}, mounts: [], hooks: [], networks: [], gids: [], syscalls: [] },
    ports: { replIn: 1, replOut: 2, booked: [1, 2] },
    services: [],
  });
}

async function prepared(request: KernelCreationRequest) {
  const plan = planOf(request);
  await prepareScratch(plan.scratch, planScratchFiles(request, plan, 'SCRATCH_SIZE=0m\n'), owner);
  const at = (path: string) => join(plan.scratch.root, path);
  return {
    plan,
    at,
    text: (path: string) => readFile(at(path), 'utf8'),
    mode: async (path: string) => ((await stat(at(path))).mode & 0o7777).toString(8),
  };
}

test('a scratch directory has the configuration of the kernel and copies of it', async () => {
  const { text, mode, plan } = await prepared(kernelRequest());
  expect(await text('config/environ.txt')).toContain('BACKENDAI_SESSION_NAME=a-session\n');
  expect(await text('config/environ_base.txt')).toBe(await text('config/environ.txt'));
  expect(await text('config/resource.txt')).toBe('SCRATCH_SIZE=0m\n');
  await appendContainerId(plan.scratch, 'abc');
  expect(await text('config/resource.txt')).toBe('SCRATCH_SIZE=0m\nCID=abc\n');
  expect(await text('config/resource_base.txt')).toBe('SCRATCH_SIZE=0m\n');
  expect(await mode('config')).toBe('755');
  expect(await mode('work')).toBe('755');
});

test('the cluster stands in a file for its owner, in the words of the request', async () => {
  const request = kernelRequest();
  const clusterSshPortMapping = { main1: ['10.0.0.1', 30050] as const };
  const cluster = { ...request.cluster, size: 2, replicas: { main: 1, sub: 1 }, clusterSshPortMapping };
  const { text, mode } = await prepared({ ...request, cluster });
  expect(JSON.parse(await text('config/cluster.json'))).toEqual({
    mode: 'single-node',
    size: 2,
    replicas: { main: 1, sub: 1 },
    network_config: {},
    ssh_keypair: { public_key: 'cluster public', private_key: 'cluster private' },
    cluster_ssh_port_mapping: clusterSshPortMapping,
  });
  expect(await mode('config/cluster.json')).toBe('600');
});

test('keys of the cluster are for their owner only', async () => {
  const request = kernelRequest();
  const clusterSshPortMapping = { main1: ['10.0.0.1', 30050] as const };
  const { text, mode } = await prepared({
    ...request,
    cluster: { ...request.cluster, clusterSshPortMapping },
  });
  expect(await text('config/ssh/id_cluster')).toBe('cluster private');
  expect(await mode('config/ssh/id_cluster')).toBe('600');
  expect(await text('config/ssh/id_cluster.pub')).toBe('cluster public');
  expect(JSON.parse(await text('config/ssh/port-mapping.json'))).toEqual(clusterSshPortMapping);
});

test('credentials, bootstrap script and the user’s keys are where the runner looks for them', async () => {
  const { text, mode } = await prepared(
    kernelRequest({
      config: {
        bootstrapScript: 'echo hello',
        ...internal({
          dockerCredentials: { registry: { user: 'u' } },
          sshKeypair: { publicKey: 'public', privateKey: 'private' },
        }),
      },
    }),
  );
  expect(JSON.parse(await text('config/docker-creds.json'))).toEqual({ registry: { user: 'u' } });
  expect(await mode('config/docker-creds.json')).toBe('600');
  expect(await text('work/bootstrap.sh')).toBe('echo hello');
  expect(await mode('work/.ssh')).toBe('700');
  expect(await text('work/.ssh/authorized_keys')).toBe('public');
  expect(await text('work/.ssh/id_rsa')).toBe('private');
  expect(await mode('work/.ssh/id_rsa')).toBe('600');
  expect(await text('work/id_container')).toBe('private');
});

test('the user’s keys stay away from a folder that is mounted in their place', async () => {
  const { at } = await prepared(
    kernelRequest({
      config: {
        ...internal({ sshKeypair: { publicKey: 'public', privateKey: 'private' } }),
        mounts: [
          {
            name: '.ssh',
            vfid: 'x',
            vfsubpath: '.',
            hostPath: '/vfroot/ssh',
            kernelPath: '/home/work/.ssh',
            permission: 'rw',
            usageMode: 'general',
          },
        ],
      },
    }),
  );
  await expect(stat(at('work/.ssh'))).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('dotfiles', () => {
  const withDotfiles = (...dotfiles: { path: string; data: string; perm: string }[]) =>
    kernelRequest({ config: internal({ dotfiles }) });

  test('end with a line break, have their mode, and can be reached', async () => {
    const { text, mode } = await prepared(
      withDotfiles(
        { path: '.config/tool/rc', data: 'a', perm: '640' },
        { path: '/home/work/.profile', data: 'b\n', perm: '0755' },
      ),
    );
    expect(await text('work/.config/tool/rc')).toBe('a\n');
    expect(await mode('work/.config/tool/rc')).toBe('640');
    expect(await mode('work/.config/tool')).toBe('750');
    expect(await mode('work/.config')).toBe('750');
    expect(await text('work/.profile')).toBe('b\n');
    expect(await mode('work')).toBe('755');
  });

  test('of the same path: the last one stays, a locked one included', async () => {
    const { text } = await prepared(
      withDotfiles(
        { path: '.rc', data: 'first', perm: '400' },
        { path: '/home/work/.rc', data: 'second', perm: '600' },
      ),
    );
    expect(await text('work/.rc')).toBe('second\n');
  });

  test.each([
    '../x',
    '/etc/passwd',
    '/home/work/../config/resource.txt',
    '/home/other/x',
    '.',
    '/home/work',
    'a/../../b',
  ])('at %s are refused', (path) => {
    const request = withDotfiles({ path, data: 'x', perm: '644' });
    expect(() => planScratchFiles(request, planOf(request), '')).toThrow(
      expect.objectContaining({ pythonName: 'PermissionError' }),
    );
  });

  test.each(['rw-r--r--', '99', '8888', '', '-644'])('with the permission %p are refused', (perm) => {
    const request = withDotfiles({ path: '.rc', data: 'x', perm });
    expect(() => planScratchFiles(request, planOf(request), '')).toThrow(/not an octal number/);
  });
});

test('what an earlier attempt left is gone', async () => {
  const request = kernelRequest();
  const { at } = await prepared(request);
  await writeFile(at('work/left'), '');
  await prepared(request);
  await expect(stat(at('work/left'))).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a kernel that plants links', () => {
  test('gets its files replaced, not what they point to', async () => {
    const request = kernelRequest();
    const { plan, at, text } = await prepared(request);
    const victim = join(directory, 'victim');
    await writeFile(victim, 'precious');
    await rm(at('config/environ.txt'));
    await symlink(victim, at('config/environ.txt'));
    await writeScratchFiles(plan.scratch, configFiles(plan, 'new\n'), owner);
    expect(await readFile(victim, 'utf8')).toBe('precious');
    expect(await text('config/resource.txt')).toBe('new\n');
  });

  test('in place of a directory is refused', async () => {
    const request = kernelRequest();
    const { plan, at } = await prepared(request);
    const victim = join(directory, 'victim');
    await mkdir(victim);
    await rm(at('config'), { recursive: true });
    await symlink(victim, at('config'));
    await expect(writeScratchFiles(plan.scratch, configFiles(plan, ''), owner)).rejects.toMatchObject({
      pythonName: 'PermissionError',
    });
    await removeScratch(plan.scratch);
    expect((await stat(victim)).isDirectory()).toBe(true);
  });
});

test('removing succeeds twice', async () => {
  const { plan } = await prepared(kernelRequest());
  await removeScratch(plan.scratch);
  await removeScratch(plan.scratch);
  await expect(stat(plan.scratch.root)).rejects.toMatchObject({ code: 'ENOENT' });
});
