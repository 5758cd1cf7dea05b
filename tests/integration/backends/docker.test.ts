import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelBackend, KernelExit, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { buildRunnerVolume, type DockerBackendOptions } from '../../../src/backends/docker/index.js';
import { parseAgentId, type AgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { RunnerLink } from '../../../src/runner/link.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot, PYTHON_IMAGE, pythonRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { requirement } from '../../support/requirements.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';
import { bundleRunner, query, textOf } from '../runner/runner-process.js';

const NEVER = new AbortController().signal;
const PATIENT = { timeoutMs: 50_000 };
const MIB = 1024 * 1024;

await describeWithEngine('docker backend on a real engine', (engine) => {
  let stubVolume: string;
  let runnerVolume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;
  let exits: KernelExit[];
  const links: RunnerLink[] = [];

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const root = join(engine.directory, 'volumes');
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const bundle = await bundleRunner();
    try {
      runnerVolume = (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
    } finally {
      await bundle.remove();
    }
    stubVolume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
  }, 120_000);
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
    await harness[Symbol.asyncDispose]();
  });

  const open = async (
    volume: string,
    options: { image?: string; backend?: Partial<DockerBackendOptions> } = {},
  ) => {
    harness = await DockerBackendHarness.make({ engine, volume, ...options });
    backend = await harness.open();
    exits = [];
    backend.onExit((exit) => exits.push(exit));
  };
  const start = async (plan: KernelPlan) => {
    const handle = await backend.create(plan, NEVER);
    return { handle, endpoints: await backend.start(handle, NEVER) };
  };
  const linkTo = async (plan: KernelPlan) => {
    const { handle, endpoints } = await start(plan);
    const link = RunnerLink.connect({ kernelId: plan.kernelId, endpoints, logger: silentLogger });
    links.push(link);
    return { handle, link };
  };
  const stub = async (plan: KernelPlan) => {
    const { handle } = await start(plan);
    return { handle, ...(await harness.stub(plan).ready()) };
  };
  const inspect = (handle: KernelHandle) => engine.docker.getContainer(handle.containerId).inspect();

  describe('with the real runner', () => {
    test('a shell kernel runs in an image of one program, as the planned user within the planned limits', async () => {
      await open(runnerVolume);
      const plan = await harness.plan({
        environment: { GREETING: 'hello' },
        identity: { uid: 12_345, gid: 12_346, supplementaryGids: [4242] },
        limits: { cpuCores: [0], memoryBytes: 256 * MIB, shmBytes: 32 * MIB },
      });
      await writeFile(join(plan.scratch.config, 'environ.txt'), 'FROM_CONFIG=yes\n');
      const { handle, link } = await linkTo(plan);
      const answer = async (code: string) => textOf(await query(link, code), 'stdout').replaceAll('\r', '');
      expect(await answer('echo $GREETING $FROM_CONFIG $(hostname) $PWD $HOME')).toBe(
        'hello yes main1 /home/work /home/work\n',
      );
      expect(await answer('id -u; id -g; id -G')).toBe('12345\n12346\n12346 4242\n');
      expect(
        await answer(
          'grep -c . /proc/self/status > /dev/null; df -m /dev/shm | tail -n 1 | tr -s " " | cut -d" " -f2',
        ),
      ).toBe('32\n');
      expect(
        await answer(
          'touch /home/config/x 2>/dev/null || echo refused; touch /opt/splenium/x 2>/dev/null || echo refused',
        ),
      ).toBe('refused\nrefused\n');
      expect(await answer('/opt/splenium/bin/node -p "process.execPath + 6 * 7"')).toBe(
        '/opt/splenium/bin/node42\n',
      );
      const { HostConfig } = await inspect(handle);
      expect(HostConfig).toMatchObject({ CpusetCpus: '0', Memory: 256 * MIB, MemorySwap: 256 * MIB });
      await backend.stop(handle, { graceMs: 20_000 });
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 0 })]);
    });

    test('strict hardening runs a kernel that cannot change users', async () => {
      await open(runnerVolume, { backend: { hardening: 'strict' } });
      const { link, handle } = await linkTo(await harness.plan());
      expect(
        textOf(
          await query(link, 'grep -E "^(NoNewPrivs|CapBnd)" /proc/self/status | tr -s "\\t" " "'),
          'stdout',
        ),
      ).toMatch(/CapBnd: 0000000000804000\r?\nNoNewPrivs: 1/);
      expect((await inspect(handle)).HostConfig.PidsLimit).toBe(4096);
    });

    const hasPython = requirement(
      '/usr/bin/python3: a python kernel in a container',
      existsSync('/usr/bin/python3'),
    );
    (hasPython ? test : test.skip)(
      'a python kernel runs in an image with a C library of its own',
      async () => {
        await engine.importImage(await pythonRoot(), PYTHON_IMAGE);
        await open(runnerVolume, { image: PYTHON_IMAGE });
        const { link } = await linkTo({
          ...(await harness.plan()),
          runtimeType: 'python',
          runtimePath: '/usr/bin/python3',
        });
        const result = await query(link, 'import json, os\nprint(json.dumps([6 * 7, os.getcwd()]))');
        expect(textOf(result, 'stderr')).toBe('');
        expect(textOf(result, 'stdout')).toBe('[42, "/home/work"]\n');
      },
    );
  });

  describe('containers', () => {
    test('that are killed from outside, or removed, are noticed', async () => {
      await open(stubVolume);
      const killed = await stub(await harness.plan());
      const removed = await stub(await harness.plan());
      await engine.docker.getContainer(killed.handle.containerId).kill({ signal: 'SIGKILL' });
      await eventually(() => {
        expect(exits).toEqual([expect.objectContaining({ handle: killed.handle, exitCode: -9 })]);
      }, PATIENT);
      await engine.docker.getContainer(removed.handle.containerId).remove({ force: true });
      await eventually(() => {
        expect(exits.map(({ handle }) => handle)).toEqual([killed.handle, removed.handle]);
      }, PATIENT);
      expect(await backend.inspect(removed.handle)).toEqual({ status: 'missing' });
    });

    test('that run out of memory are told from those that were killed', async () => {
      await open(stubVolume);
      const plan = await harness.plan({ limits: { memoryBytes: 96 * MIB } });
      const { handle } = await stub(plan);
      await harness.stub(plan).order('eat 512');
      await eventually(() => {
        expect(exits).toEqual([expect.objectContaining({ handle, exitCode: -9, oomKilled: true })]);
      }, PATIENT);
    });

    test('that lose a process for lack of memory say so and go on', async () => {
      await open(stubVolume);
      const ooms: KernelHandle[] = [];
      backend.onOom?.((handle) => ooms.push(handle));
      const plan = await harness.plan({ limits: { memoryBytes: 128 * MIB } });
      const { handle } = await stub(plan);
      const exec = await engine.docker
        .getContainer(handle.containerId)
        .exec({ Cmd: ['tail', '/dev/zero'], AttachStdout: true });
      (await exec.start({})).resume();
      await eventually(() => {
        expect(ooms).toContainEqual(handle);
      }, PATIENT);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(exits).toEqual([]);
    });

    test('that cannot start stay created, with the reason of the engine', async () => {
      await open(stubVolume);
      const first = await harness.plan();
      await stub(first);
      const plan = { ...(await harness.plan()), replInPort: first.replInPort };
      const handle = await backend.create(plan, NEVER);
      await expect(backend.start(handle, NEVER)).rejects.toMatchObject({
        code: 'BACKEND_START_FAILED',
        message: expect.stringContaining(String(first.replInPort)),
      });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: null });
      await backend.remove(handle);
      expect(exits).toEqual([]);
    });

    test('of an image that is not there leave nothing, and say which', async () => {
      await open(stubVolume);
      const plan = { ...(await harness.plan()), imageCanonical: 'splenium-test/missing:1' };
      await expect(backend.create(plan, NEVER)).rejects.toMatchObject({
        code: 'IMAGE_NOT_AVAILABLE',
        message: expect.stringContaining('splenium-test/missing:1'),
      });
      expect(await harness.leftovers()).toEqual([]);
    });

    test('have one container, whatever the image: another is refused, and the first goes on', async () => {
      await open(stubVolume);
      const plan = await harness.plan();
      const { handle } = await stub(plan);
      await engine.tagImage(BUSYBOX_IMAGE, 'splenium-test/other:1');
      const other = { ...plan, imageCanonical: 'splenium-test/other:1' };
      await expect(backend.create(other, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_EXISTS' });
      expect(await backend.list(plan.agentId)).toEqual([handle]);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
    });

    test('that ended by themselves or were removed unheard are stopped and removed all the same', async () => {
      await open(stubVolume);
      const { handle } = await stub(await harness.plan());
      const container = engine.docker.getContainer(handle.containerId);
      await container.kill({ signal: 'SIGKILL' });
      await backend.stop(handle, { graceMs: 5000 });
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: -9 })]);
      await container.remove();
      await backend.remove(handle);
      await backend.remove(handle);
      expect(exits).toHaveLength(1);
      expect(await harness.leftovers()).toEqual([]);
    });

    test('of a handle that names another kernel or agent are neither stopped nor removed', async () => {
      await open(stubVolume);
      const { handle } = await stub(await harness.plan());
      const { kernelId } = await harness.plan();
      for (const wrong of [
        { ...handle, kernelId },
        { ...handle, agentId: parseAgentId('i-another') },
      ]) {
        await backend.stop(wrong, { graceMs: 0 });
        await backend.remove(wrong);
      }
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(exits).toEqual([]);
    });

    test('get folders from allowed places only, and files go to where the kernel sees them', async () => {
      const shared = join(engine.directory, 'shared');
      await mkdir(join(shared, 'data'), { recursive: true });
      await open(stubVolume, { backend: { allowedMountRoots: [shared] } });
      const refused = await harness.plan({
        mounts: [{ source: join(shared, '../data'), target: '/home/work/x', permission: 'ro' }],
      });
      await expect(backend.create(refused, NEVER)).rejects.toMatchObject({ pythonName: 'PermissionError' });
      for (const mount of [
        // A relay of ours, and a file that a device asks for.
        { source: join(shared, 'relay.sock'), behind: '/run/docker.sock', target: '/run/docker.sock' },
        { source: '/etc/hostname', target: '/opt/device' },
      ]) {
        const containerMounts = [{ ...mount, permission: 'rw' as const }];
        await expect(
          backend.create({ ...(await harness.plan()), containerMounts }, NEVER),
        ).rejects.toMatchObject({ pythonName: 'PermissionError' });
      }
      const plan = await harness.plan({
        mounts: [{ source: join(shared, 'data'), target: '/home/work/data', permission: 'rw' }],
      });
      const { handle } = await stub(plan);
      await backend.files.upload(handle, 'data/new.txt', Buffer.from('seen'));
      expect(await readFile(join(shared, 'data/new.txt'), 'utf8')).toBe('seen');
      const seen = await engine.docker
        .getContainer(handle.containerId)
        .getArchive({ path: '/home/work/data/new.txt' });
      let archive = '';
      for await (const chunk of seen as AsyncIterable<Buffer>) archive += chunk.toString('latin1');
      expect(archive).toContain('seen');
    });

    test('on a network of the session find each other, and the network stays while they use it', async () => {
      await open(runnerVolume);
      const name = 'bai-singlenode-test';
      await backend.networks.createLocal(name);
      const on = (plan: KernelPlan, alias: string): KernelPlan => ({
        ...plan,
        hostname: alias,
        network: { mode: 'named', name, aliases: [alias] },
      });
      const main = await linkTo(on(await harness.plan(), 'main1'));
      const sub = await start(on(await harness.plan(), 'sub1'));
      const { NetworkSettings } = await inspect(sub.handle);
      const address = NetworkSettings.Networks[name]?.IPAddress ?? '';
      expect(textOf(await query(main.link, 'nslookup sub1 2>&1'), 'stdout')).toContain(address);
      await expect(backend.networks.destroyLocal(name)).rejects.toMatchObject({
        code: 'BACKEND_ENGINE_FAILED',
      });
      await backend.remove(main.handle);
      await backend.remove(sub.handle);
      await backend.networks.destroyLocal(name);
    });

    test('of the original are found by their owner and taken over', async () => {
      await open(stubVolume);
      const plan = await harness.plan();
      const container = await engine.docker.createContainer({
        name: `kernel.busybox.${plan.kernelId}`,
        Image: BUSYBOX_IMAGE,
        Cmd: ['sleep', '1000'],
        Tty: true,
        Labels: {
          'ai.backend.owner': plan.agentId,
          'ai.backend.kernel-id': plan.kernelId,
          'ai.backend.session-id': plan.sessionId,
        },
        HostConfig: {
          Init: true,
          PortBindings: {
            '2000/tcp': [{ HostIp: '127.0.0.1', HostPort: String(plan.replInPort) }],
            '2001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(plan.replOutPort) }],
          },
          Mounts: [{ Type: 'bind', Source: plan.scratch.work, Target: '/home/work' }],
        },
      });
      await container.start();
      const [handle, ...others] = await backend.list(plan.agentId);
      expect(others).toEqual([]);
      if (handle === undefined) throw new Error('not found');
      expect(await backend.inspect(handle)).toEqual({
        status: 'running',
        endpoints: {
          replIn: `tcp://127.0.0.1:${String(plan.replInPort)}`,
          replOut: `tcp://127.0.0.1:${String(plan.replOutPort)}`,
        },
      });
      await backend.files.upload(handle, 'a.txt', Buffer.from('x'));
      expect(await readFile(join(plan.scratch.work, 'a.txt'), 'utf8')).toBe('x');
      await backend.stop(handle, { graceMs: 0 });
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: -9 })]);
      await backend.remove(handle);
      expect(await harness.leftovers()).toEqual([]);
    });
  });

  test("two daemons on one engine: a sibling's die event changes nothing", async () => {
    await open(stubVolume);
    const sibling = await harness.open();
    const heard: KernelExit[] = [];
    sibling.onExit((exit) => heard.push(exit));
    const [own, other]: [AgentId, AgentId] = [parseAgentId('i-own'), parseAgentId('i-sibling')];
    const ownPlan = await harness.plan({ agentId: own });
    const ours = await stub(ownPlan);
    const otherPlan = await harness.plan({ agentId: other });
    const theirs = await sibling.create(otherPlan, NEVER);
    await sibling.start(theirs, NEVER);
    await harness.stub(otherPlan).ready();
    await harness.stub(otherPlan).order('exit 3');
    await eventually(() => {
      expect(heard).toEqual([expect.objectContaining({ handle: theirs, exitCode: 3 })]);
    }, PATIENT);
    expect(exits).toEqual([]);
    expect(await backend.list(own)).toEqual([ours.handle]);
    expect(await backend.inspect(ours.handle)).toMatchObject({ status: 'running' });
    expect(await sibling.list(other)).toEqual([theirs]);
    // Its own comes after the sibling's, so nothing of the sibling's is on its way any more.
    await harness.stub(ownPlan).order('exit 4');
    await eventually(() => {
      expect(exits).toEqual([expect.objectContaining({ handle: ours.handle, exitCode: 4 })]);
    }, PATIENT);
    expect(heard).toHaveLength(1);
  });

  describe('when the engine', () => {
    test('hangs, calls end at their deadline and work again afterwards', async () => {
      await open(stubVolume, { backend: { engineDeadlineMs: 1000 } });
      const patient = await harness.open({ engineDeadlineMs: 30_000 });
      const plan = await harness.plan();
      const handle = await patient.create(plan, NEVER);
      await patient.start(handle, NEVER);
      const pid = await engine.pid();
      process.kill(pid, 'SIGSTOP');
      try {
        await expect(backend.inspect(handle)).rejects.toMatchObject({ code: 'TIMEOUT' });
        await expect(backend.stop(handle, { graceMs: 0 })).rejects.toMatchObject({ code: 'TIMEOUT' });
        await expect(backend.create(await harness.plan(), NEVER)).rejects.toMatchObject({ code: 'TIMEOUT' });
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await patient.stop(handle, { graceMs: 0 });
      await patient.remove(handle);
      await eventually(async () => {
        expect(await harness.leftovers()).toEqual([]);
      }, PATIENT);
    });

    test('is away, calls say so', async () => {
      await open(stubVolume);
      const { handle } = await stub(await harness.plan());
      await engine.kill();
      try {
        await expect(backend.inspect(handle)).rejects.toMatchObject({
          code: 'BACKEND_UNAVAILABLE',
          retryable: true,
        });
        await expect(harness.open()).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
      } finally {
        await engine.resume();
      }
      await backend.remove(handle);
    });

    test('is restarted, ends before, meanwhile and after are each reported once', async () => {
      await open(stubVolume);
      const plans = [await harness.plan(), await harness.plan(), await harness.plan()] as const;
      const [before, meanwhile, after] = [await stub(plans[0]), await stub(plans[1]), await stub(plans[2])];
      const ends = () => exits.map(({ handle, exitCode }) => [handle.kernelId, exitCode]);
      await harness.stub(plans[0]).order('exit 1');
      await eventually(() => {
        expect(ends()).toEqual([[before.handle.kernelId, 1]]);
      }, PATIENT);
      await engine.kill();
      await harness.stub(plans[1]).order('exit 2');
      await eventually(async () => {
        expect(await harness.isAlive(meanwhile.pid)).toBe(false);
      }, PATIENT);
      await engine.resume();
      await eventually(() => {
        expect(ends().slice(1)).toEqual([[meanwhile.handle.kernelId, expect.anything()]]);
      }, PATIENT);
      expect(await backend.inspect(after.handle)).toMatchObject({ status: 'running' });
      await harness.stub(plans[2]).order('exit 3');
      await eventually(() => {
        expect(ends().slice(2)).toEqual([[after.handle.kernelId, 3]]);
      }, PATIENT);
    });
  });
});
