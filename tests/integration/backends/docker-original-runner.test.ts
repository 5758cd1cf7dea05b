import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelBackend, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { DistroProbe } from '../../../src/backends/docker/distro-probe.js';
import { Engine } from '../../../src/backends/docker/engine.js';
import {
  buildRunnerVolume,
  DockerBackend,
  type DockerBackendOptions,
} from '../../../src/backends/docker/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import { RunnerLink } from '../../../src/runner/link.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot, pythonRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { ORIGINAL_PYTHON, pathOf, requirement } from '../../support/requirements.js';
import { bundleRunner, query, textOf } from '../runner/runner-process.js';

const NEVER = new AbortController().signal;
const PATIENT = { timeoutMs: 50_000 };
const GLIBC = 'splenium-test/glibc:1';
const MUSL = 'splenium-test/musl:1';
const PYTHON = 'splenium-test/python-for-original:1';
const ODD = 'splenium-test/odd:1';
const PACKAGE_FILES = [
  ...['su-exec', 'dropbearmulti', 'sftp-server', 'tmux', 'ttyd_linux', 'all-smi'].map(
    (name) => `${name}.x86_64.bin`,
  ),
  ...['libbaihook.ubuntu20.04.x86_64.so', 'yank.sh', 'extract_dotfiles.py', 'fantompass.py'],
  ...['hash_phrase.py', 'words.json'],
];

/** What programs for any glibc may ask for. */
const C_LIBRARIES = [
  ...['libpthread.so.0', 'libdl.so.2', 'libutil.so.1', 'librt.so.1', 'libm.so.6'],
  ...['libstdc++.so.6', 'libgcc_s.so.1', 'libcrypt.so.1'],
];

/** An `ldd` that says what it is told to say. */
const lddFiles = (text: string, exitCode = 0) => ({
  '/bin/ldd': { text: `#!/bin/sh\nprintf '${text}'\nexit ${String(exitCode)}\n`, mode: 0o755 },
});

/** The original's packages as `scripts/original-env` installs them; empty when they are not there. */
function originalPackages(): string {
  const python = pathOf(ORIGINAL_PYTHON);
  if (python === '') return '';
  const site = execFileSync(python, ['-c', "import sysconfig; print(sysconfig.get_path('purelib'))"], {
    encoding: 'utf8',
  }).trim();
  return join(site, 'ai/backend');
}

await describeWithEngine("the original's runner and its programs", (engine) => {
  let volumes: string;
  let runnerPath: string;
  let entrypointPath: string;
  let volume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;
  const links: RunnerLink[] = [];
  let removeBundle = () => Promise.resolve();

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const glibc = lddFiles('hook: loaded\\nldd (GNU libc) 2.35.1\\n');
    await engine.importImage(await busyboxRoot({ files: glibc }), GLIBC);
    const musl = lddFiles('musl libc (x86_64)\\nVersion 1.2.4\\n', 1);
    await engine.importImage(await busyboxRoot({ files: musl }), MUSL);
    await engine.importImage(await busyboxRoot({ files: lddFiles('nothing of use\\n') }), ODD);
    const bundle = await bundleRunner();
    removeBundle = () => bundle.remove();
    runnerPath = bundle.path;
    entrypointPath = await bundleEntrypoint(engine.directory);
    volumes = join(engine.directory, 'volumes');
    volume = (await buildRunnerVolume({ root: volumes, runnerPath, entrypointPath })).directory;
  }, 120_000);
  afterAll(() => removeBundle());
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
    await harness[Symbol.asyncDispose]();
  });

  const open = async (image: string, options: Partial<DockerBackendOptions> = {}) => {
    harness = await DockerBackendHarness.make({ engine, volume, image, backend: options });
    backend = await harness.open();
  };
  const start = async (plan: KernelPlan) => {
    const handle = await backend.create(plan, NEVER);
    const endpoints = await backend.start(handle, NEVER);
    const link = RunnerLink.connect({ kernelId: plan.kernelId, endpoints, logger: silentLogger });
    links.push(link);
    return { handle, link };
  };
  const logOf = async (handle: KernelHandle) =>
    Buffer.from(await backend.logs(handle, { maxBytes: 100_000 })).toString();
  const containers = async () => (await engine.docker.listContainers({ all: true })).length;

  /** A package and a volume made by hand: what starts writes down how. */
  const makePackage = async (name: string) => {
    const root = join(engine.directory, name);
    for (const directory of ['runner', 'kernel', 'helpers', 'volume/bin'])
      await mkdir(join(root, directory), { recursive: true });
    for (const directory of ['kernel', 'helpers'])
      await mkdir(join(root, 'volume/lib/python3.6/site-packages/ai/backend', directory), {
        recursive: true,
      });
    for (const file of PACKAGE_FILES) await writeFile(join(root, 'runner', file), file);
    const entrypoint = join(root, 'runner/entrypoint.sh');
    await writeFile(
      entrypoint,
      '#!/bin/sh\necho "$@" "$LOCAL_USER_ID" "$LD_PRELOAD" > /home/work/argv\nexec sleep 1000\n',
    );
    await chmod(entrypoint, 0o755);
    return {
      packageDirectory: join(root, 'runner'),
      volumes: { 'ubuntu20.04': join(root, 'volume') },
    };
  };

  describe('the probe of an image', () => {
    const probeWith = (cache?: { read: (digest: string) => string | null }) => {
      const written: [string, string][] = [];
      const asked: string[] = [];
      const probe = new DistroProbe({
        engine: new Engine({ socketPath: engine.socketPath }),
        clock: systemClock,
        logger: silentLogger,
        cache: {
          read: (digest) => {
            asked.push(digest);
            return Promise.resolve(cache?.read(digest) ?? null);
          },
          write: (digest, distro) => {
            written.push([digest, distro]);
            return Promise.resolve();
          },
        },
      });
      return { probe, written, asked };
    };
    beforeEach(async () => {
      harness = await DockerBackendHarness.make({ engine, volume });
    });

    test('reads every line, notes what it finds, asks once, and leaves no container', async () => {
      const { probe, written, asked } = probeWith();
      expect(await Promise.all([probe.distroOf(GLIBC), probe.distroOf(GLIBC)])).toEqual([
        'ubuntu22.04',
        'ubuntu22.04',
      ]);
      expect(await probe.distroOf(MUSL)).toBe('alpine3.8');
      const { Id } = await engine.docker.getImage(GLIBC).inspect();
      expect(written[0]).toEqual([Id.replace('sha256:', ''), 'ubuntu22.04']);
      expect([asked.length, written.length]).toEqual([2, 2]);
      expect(await containers()).toBe(0);
    });

    test('is not made when another node knows', async () => {
      const { probe, written } = probeWith({ read: () => 'centos7.6' });
      expect(await probe.distroOf(ODD)).toBe('centos7.6');
      expect(written).toEqual([]);
    });

    test('of an image without ldd, or with one of its own, says what to do and leaves no container', async () => {
      const { probe } = probeWith();
      for (const image of [BUSYBOX_IMAGE, ODD])
        await expect(probe.distroOf(image)).rejects.toMatchObject({
          code: 'UNSUPPORTED_BASE_DISTRO',
          message: expect.stringContaining('ai.backend.base-distro'),
        });
      await expect(probe.distroOf('splenium-test/none:1')).rejects.toMatchObject({
        code: 'IMAGE_NOT_AVAILABLE',
      });
      expect(await containers()).toBe(0);
    });
  });

  test("a package made by hand: the original's entry point, command and mounts", async () => {
    const originalRunner = await makePackage('made');
    await open(GLIBC, { originalRunner });
    const plan = await harness.plan({ identity: { uid: 1234, gid: 1234, supplementaryGids: [] } });
    await chown(plan.scratch.work, 1234, 1234);
    const { handle } = await start({ ...plan, runtimeType: 'python', runtimePath: '/usr/bin/python3' });
    await eventually(async () => {
      expect(await readFile(join(plan.scratch.work, 'argv'), 'utf8')).toBe(
        '/opt/backend.ai/bin/python -s -m ai.backend.kernel python /usr/bin/python3 1234 /opt/kernel/libbaihook.so\n',
      );
    }, PATIENT);
    const { Mounts } = await engine.docker.getContainer(handle.containerId).inspect();
    expect(Mounts.find(({ Destination }) => Destination === '/opt/kernel/tmux')).toMatchObject({
      Source: join(originalRunner.packageDirectory, 'tmux.x86_64.bin'),
      RW: false,
    });
  });

  test('a package that lacks something makes the creation fail and say what', async () => {
    await open(MUSL, { originalRunner: await makePackage('lacking') });
    await expect(backend.create(await harness.plan(), NEVER)).rejects.toMatchObject({
      code: 'UNSUPPORTED_BASE_DISTRO',
    });
    const originalRunner = await makePackage('lacking');
    const volumes = { ...originalRunner.volumes, 'alpine3.8': join(engine.directory, 'lacking/volume') };
    await writeFile(join(originalRunner.packageDirectory, 'libbaihook.alpine3.8.x86_64.so'), '');
    const other = await harness.open({ originalRunner: { ...originalRunner, volumes } });
    await expect(other.create(await harness.plan(), NEVER)).rejects.toMatchObject({
      code: 'RUNNER_PACKAGE',
      message: expect.stringContaining('terminfo.alpine3.8'),
    });
    expect(await containers()).toBe(0);
  });

  test('a volume that is not there, and strict hardening, are refused at the start', async () => {
    const originalRunner = await makePackage('refused');
    harness = await DockerBackendHarness.make({ engine, volume });
    await expect(
      harness.open({ originalRunner: { ...originalRunner, volumes: { 'static-gnu': 'no-such-volume' } } }),
    ).rejects.toMatchObject({ code: 'RUNNER_PACKAGE', message: expect.stringContaining('no-such-volume') });
    await expect(harness.open({ originalRunner, hardening: 'strict' })).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
    });
    expect((await engine.docker.listVolumes()).Volumes).toEqual([]);
  });

  test('runner volumes that no container mounts go at the start, others stay', async () => {
    harness = await DockerBackendHarness.make({ engine, volume });
    const used = join(volumes, 'runner-used');
    for (const directory of [used, join(volumes, 'runner-unused')]) await mkdir(directory);
    await engine.docker.createContainer({
      Image: BUSYBOX_IMAGE,
      Cmd: ['true'],
      Labels: { 'ai.backend.kernel-id': 'some' },
      HostConfig: { Binds: [`${used}:/opt/splenium:ro`] },
    });
    const own = new DockerBackend({
      socketPath: engine.socketPath,
      runnerVolume: { root: volumes, runnerPath, entrypointPath },
      logger: silentLogger,
    });
    await own.open();
    await own.close();
    expect((await readdir(volumes)).sort()).toEqual([volume.slice(volumes.length + 1), 'runner-used'].sort());
  });

  const packages = originalPackages();
  const isThere = requirement(
    `${ORIGINAL_PYTHON.what}, named by ${ORIGINAL_PYTHON.variable}: its runner in a container`,
    packages !== '' &&
      existsSync('/usr/bin/python3') &&
      existsSync(join(packages, 'runner/dropbearmulti.x86_64.bin')),
  );

  (isThere ? test : test.skip)(
    'the real package: its runner answers',
    async () => {
      const extracted = join(engine.directory, 'krunner');
      await mkdir(extracted);
      const archive = join(packages, 'krunner/static_gnu/krunner-env.static-gnu.x86_64.tar.xz');
      execFileSync('tar', ['-xJf', archive, '-C', extracted]);
      // An image with a C library, which the original's Python needs.
      await engine.importImage(
        await pythonRoot({ files: lddFiles('ldd (GNU libc) 2.35\\n'), libraries: C_LIBRARIES }),
        PYTHON,
      );
      await open(PYTHON, {
        originalRunner: { packageDirectory: join(packages, 'runner'), volumes: { 'static-gnu': extracted } },
      });
      const plan = { ...(await harness.plan()), runtimeType: 'app', runtimePath: null };
      const environment = { ...plan.environment, BACKENDAI_CLUSTER_REPLICAS: 'main:1' };
      const { link, handle } = await start({ ...plan, environment });
      try {
        await link.waitReady(PATIENT);
      } catch (error) {
        throw new Error(await logOf(handle), { cause: error });
      }
      const finished = await query(link, 'x');
      expect(finished.status).toBe('finished');
    },
    120_000,
  );

  (isThere ? test : test.skip)(
    'its SSH server and terminal serve kernels of our own runner, with keys of the session',
    async () => {
      await open(BUSYBOX_IMAGE, { helperDirectory: join(packages, 'runner') });
      const plan = await harness.plan({ identity: { uid: 1234, gid: 1234, supplementaryGids: [] } });
      await mkdir(join(plan.scratch.config, 'ssh'));
      await writeFile(join(plan.scratch.config, 'ssh/id_cluster'), 'secret');
      await writeFile(join(plan.scratch.config, 'ssh/id_cluster.pub'), 'ssh-rsa cluster\n');
      await chown(plan.scratch.work, 1234, 1234);
      const { link, handle } = await start(plan);
      await link.waitReady(PATIENT);
      const answer = async (code: string) => textOf(await query(link, code), 'stdout');
      expect(await answer('nc -w 3 127.0.0.1 2200 < /dev/null')).toMatch(/^SSH-2\.0-dropbear/);
      expect(await answer('wget -q -O - http://127.0.0.1:7681/ | head -c 200')).toMatch(/<html/i);
      expect(await answer('tail -n 1 .ssh/authorized_keys; grep -c "^Host main" .ssh/config')).toBe(
        'ssh-rsa cluster\n1\n',
      );
      expect((await stat(join(plan.scratch.work, 'id_container'))).uid).toBe(1234);
      expect(
        await link.startService({ name: 'sshd', port: 2200, ports: [2200], protocol: 'tcp', options: {} }),
      ).toEqual({
        status: 'running',
      });
      expect(await logOf(handle)).not.toContain('did not start');
    },
  );
});
