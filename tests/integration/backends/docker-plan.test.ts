import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { KernelBackend, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { buildRunnerVolume, type DockerBackendOptions } from '../../../src/backends/docker/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const NEVER = new AbortController().signal;
const MIB = 1024 * 1024;
const TORCH_IMAGE = 'splenium-test/pytorch:1';

await describeWithEngine('what the engine makes of a plan', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    await engine.docker.getImage(BUSYBOX_IMAGE).tag({ repo: 'splenium-test/pytorch', tag: '1' });
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const root = join(engine.directory, 'volumes');
    volume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
  }, 120_000);
  afterEach(async () => {
    await harness[Symbol.asyncDispose]();
    await engine.docker.pruneNetworks();
  });

  const open = async (options: Partial<DockerBackendOptions> = {}) => {
    harness = await DockerBackendHarness.make({ engine, volume, backend: options });
    backend = await harness.open();
  };
  const inspect = (handle: KernelHandle) => engine.docker.getContainer(handle.containerId).inspect();
  const start = async (plan: KernelPlan) => {
    const handle = await backend.create(plan, NEVER);
    await backend.start(handle, NEVER);
    await harness.stub(plan).ready();
    return handle;
  };
  const exec = async (handle: KernelHandle, ...command: string[]): Promise<string> => {
    const run = await engine.docker
      .getContainer(handle.containerId)
      .exec({ Cmd: command, AttachStdout: true, AttachStderr: true, Tty: true });
    const stream = await run.start({ Tty: true });
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(stream, 'end');
    return text.trim();
  };

  test('devices, mounts and limits of the plan are the container’s', async () => {
    await open();
    const base = await harness.plan();
    const tmp = `${base.scratch.root}_tmp`;
    await mkdir(tmp);
    const hook = join(harness.root, 'libhook.so');
    await writeFile(hook, 'hook');
    const plan: KernelPlan = {
      ...base,
      scratch: { ...base.scratch, tmp },
      containerMounts: [{ source: hook, target: hook, permission: 'ro' }],
      deviceArguments: {
        Memory: 200 * MIB,
        MemorySwap: 200 * MIB,
        ShmSize: 32 * MIB,
        Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/npu0', CgroupPermissions: 'rw' }],
      },
      labels: { 'ai.backend.service-ports': 'jupyter:http:8070' },
    };
    const handle = await start(plan);
    const { HostConfig, Config, Mounts } = await inspect(handle);
    expect(HostConfig).toMatchObject({
      Memory: 200 * MIB,
      MemorySwap: 200 * MIB,
      ShmSize: 32 * MIB,
      CapAdd: [expect.stringContaining('IPC_LOCK'), expect.stringContaining('SYS_NICE')],
      Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/npu0' }],
    });
    expect(Config.Labels).toMatchObject({
      'ai.backend.owner': plan.agentId,
      'ai.backend.service-ports': 'jupyter:http:8070',
    });
    expect(Mounts.map(({ Destination }) => Destination)).toEqual(
      expect.arrayContaining(['/home/config', '/home/work', '/tmp', hook]),
    );
    expect(await exec(handle, 'sh', '-c', `cat ${hook}; test -c /dev/npu0 && echo ' device'`)).toBe(
      'hook device',
    );
  }, 120_000);

  test('what describe tells is what create asks for, and nothing is made of it', async () => {
    await open();
    const plan = await harness.plan({ environment: { NAME: 'value' } });
    const told = (await backend.describe?.(plan)) as { name: string; options: Record<string, unknown> };
    expect(await harness.leftovers()).toEqual([]);
    const { Name, Config, HostConfig } = await inspect(await backend.create(plan, NEVER));
    expect(Name).toBe(`/${told.name}`);
    expect(Config).toMatchObject({ Entrypoint: told.options['Entrypoint'], Env: expect.any(Array) });
    expect(Config.Env).toEqual(expect.arrayContaining(told.options['Env'] as string[]));
    const { Mounts, PortBindings, SecurityOpt } = told.options['HostConfig'] as typeof HostConfig;
    expect(HostConfig.PortBindings).toEqual(PortBindings);
    expect(HostConfig.SecurityOpt ?? []).toEqual(SecurityOpt);
    expect(HostConfig.Mounts?.map(({ Target }) => Target)).toEqual(Mounts?.map(({ Target }) => Target));
  }, 120_000);

  test('a local image is found without the registry of its name', async () => {
    await open();
    const plan = await harness.plan();
    const handle = await backend.create(
      { ...plan, imageCanonical: `registry.example:5000/${BUSYBOX_IMAGE}`, imageIsLocal: true },
      NEVER,
    );
    expect((await inspect(handle)).Config.Image).toBe(BUSYBOX_IMAGE);
  }, 60_000);

  test('images of a framework see the samples where the volume is there, other images do not', async () => {
    await open();
    const targets = async (imageCanonical: string) => {
      const handle = await backend.create({ ...(await harness.plan()), imageCanonical }, NEVER);
      return (await inspect(handle)).HostConfig.Mounts?.map(({ Target }) => Target);
    };
    expect(await targets(TORCH_IMAGE)).not.toContain('/home/work/samples');
    await engine.docker.createVolume({ Name: 'deeplearning-samples' });
    try {
      expect(await targets(TORCH_IMAGE)).toContain('/home/work/samples');
      expect(await targets(BUSYBOX_IMAGE)).not.toContain('/home/work/samples');
    } finally {
      await harness[Symbol.asyncDispose]();
      await engine.docker.getVolume('deeplearning-samples').remove();
    }
  }, 60_000);

  test('a kernel on the network of the machine listens there and knows the others by name', async () => {
    await open();
    const plan: KernelPlan = {
      ...(await harness.plan()),
      network: { mode: 'host', hosts: { sub1: '10.9.8.7' } },
    };
    const handle = await start(plan);
    const { HostConfig } = await inspect(handle);
    expect(HostConfig).toMatchObject({ NetworkMode: 'host', ExtraHosts: ['sub1:10.9.8.7'] });
    expect(await exec(handle, 'cat', '/etc/hosts')).toMatch(/10\.9\.8\.7\s+sub1/);
  }, 120_000);

  test('networks of devices are joined after the start, those that the container has already are not asked for', async () => {
    await open();
    await engine.docker.createNetwork({ Name: 'spl-fabric', Driver: 'bridge' });
    await engine.docker.createNetwork({ Name: 'spl-session', Driver: 'bridge' });
    const plan: KernelPlan = {
      ...(await harness.plan()),
      network: { mode: 'named', name: 'spl-session', aliases: ['main1'] },
      deviceNetworks: ['spl-fabric', 'spl-session'],
    };
    const handle = await start(plan);
    const networks = async () => Object.keys((await inspect(handle)).NetworkSettings.Networks).sort();
    expect(await networks()).toEqual(['spl-fabric', 'spl-session']);
    await backend.stop(handle, { graceMs: 0 });
    await backend.start(handle, NEVER);
    expect(await networks()).toEqual(['spl-fabric', 'spl-session']);
  }, 120_000);

  test('a network of a device that is not there is an error, and the container does not run', async () => {
    await open();
    const plan: KernelPlan = { ...(await harness.plan()), deviceNetworks: ['spl-nowhere'] };
    const handle = await backend.create(plan, NEVER);
    await expect(backend.start(handle, NEVER)).rejects.toThrow(/spl-nowhere/);
    expect(await backend.inspect(handle)).toMatchObject({ status: 'exited' });
  }, 60_000);

  test('the bridge of an agent is that of its kernels', async () => {
    await open();
    await engine.docker.createNetwork({ Name: 'spl-lab', Driver: 'bridge' });
    const handle = await backend.create({ ...(await harness.plan()), alternativeBridge: 'spl-lab' }, NEVER);
    expect((await inspect(handle)).HostConfig.NetworkMode).toBe('spl-lab');
    await engine.docker.createNetwork({ Name: 'spl-session', Driver: 'bridge' });
    const both = await start({
      ...(await harness.plan()),
      alternativeBridge: 'spl-lab',
      network: { mode: 'named', name: 'spl-session', aliases: ['main1'] },
    });
    const { HostConfig, NetworkSettings } = await inspect(both);
    expect(HostConfig.NetworkMode).toBe('spl-lab');
    expect(NetworkSettings.Networks['spl-session']?.Aliases).toContain('main1');
  }, 60_000);

  test('ports that the engine has not published as reserved end the start', async () => {
    const overrides = join(engine.directory, 'no-ports.json');
    await writeFile(overrides, JSON.stringify({ HostConfig: { PortBindings: { '2001/tcp': null } } }));
    await open({ overridePaths: [overrides] });
    const handle = await backend.create(await harness.plan(), NEVER);
    await expect(backend.start(handle, NEVER)).rejects.toMatchObject({
      code: 'BACKEND_PORT_MISMATCH',
      message: expect.stringContaining('2001/tcp'),
    });
    expect(await backend.inspect(handle)).toMatchObject({ status: 'exited' });
    expect((await inspect(handle)).State.Running).toBe(false);
  }, 60_000);

  test('a seccomp profile holds, and system calls of devices are added to it', async () => {
    const profile = join(engine.directory, 'seccomp.json');
    const forbidden = { names: ['mknod', 'mknodat'], action: 'SCMP_ACT_ERRNO' };
    await writeFile(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [forbidden] }));
    await open({ seccompProfilePath: profile });
    const plan: KernelPlan = { ...(await harness.plan()), allowedSyscalls: ['perf_event_open'] };
    const handle = await start(plan);
    const [option] = (await inspect(handle)).HostConfig.SecurityOpt as string[];
    expect(option).toContain('perf_event_open');
    expect(await exec(handle, 'mkfifo', '/tmp/x')).toMatch(/not permitted/);
  }, 120_000);

  test('strict hardening: no new privileges and no capabilities, but for a session with sudo', async () => {
    await open({ hardening: 'strict' });
    const hostConfig = async (isSudoEnabled: boolean) =>
      (await inspect(await backend.create({ ...(await harness.plan()), isSudoEnabled }, NEVER))).HostConfig;
    expect(await hostConfig(false)).toMatchObject({
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      PidsLimit: 4096,
    });
    const open_ = await hostConfig(true);
    expect(open_.CapDrop ?? []).toEqual([]);
    expect(open_.SecurityOpt ?? []).toEqual([]);
  }, 60_000);

  test('a socket of the machine is reached through the mounted relay', async () => {
    await open();
    const path = join(harness.root, 'host.sock');
    const server = createServer((socket) => socket.end('from the machine'));
    server.listen(path);
    await once(server, 'listening');
    try {
      execFileSync('chmod', ['666', path]);
      const plan: KernelPlan = {
        ...(await harness.plan()),
        containerMounts: [{ source: path, target: '/run/host.sock', permission: 'rw' }],
      };
      const handle = await start(plan);
      expect(await exec(handle, 'sh', '-c', 'test -S /run/host.sock && echo socket')).toBe('socket');
    } finally {
      server.close();
    }
  }, 120_000);
});
