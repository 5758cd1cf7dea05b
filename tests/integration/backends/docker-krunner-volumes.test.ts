import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { ORIGINAL_PYTHON, pathOf, requirement } from '../../support/requirements.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const EXTRACTOR = 'backendai-krunner-extractor:latest';
const VOLUME = 'backendai-krunner.v14.x86_64.static-gnu';
const FILL = 'ai.backend.splenium.fill';

/** A runner package made by hand, whose extractor is an image with a shell and `tar`. */
await describeWithEngine("volumes of the original's runner", (engine) => {
  let harness: DockerBackendHarness;
  let packages: string;
  let archive: string;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    packages = join(engine.directory, 'packages');
    const krunner = join(packages, 'krunner/static_gnu');
    for (const directory of ['runner', 'kernel', 'helpers', 'krunner/static_gnu', 'content/bin'])
      await mkdir(join(packages, directory), { recursive: true });
    await writeFile(join(packages, 'content/bin/python'), 'a program');
    await writeFile(join(krunner, 'krunner-version.static-gnu.txt'), '14\n');
    await writeFile(join(krunner, 'krunner-python.static-gnu.txt'), '3.13\n');
    archive = join(krunner, 'krunner-env.static-gnu.x86_64.tar.xz');
    await engine.docker.getImage(BUSYBOX_IMAGE).tag({ repo: 'backendai-krunner-extractor', tag: 'latest' });
    const saved = join(packages, 'extractor.tar');
    await pipeline(await engine.docker.getImage(EXTRACTOR).get(), createWriteStream(saved));
    execFileSync('xz', ['-0', saved]);
    execFileSync('mv', [`${saved}.xz`, join(packages, 'runner/krunner-extractor.img.x86_64.tar.xz')]);
    await engine.docker.getImage(EXTRACTOR).remove();
    engine.testTags.add(EXTRACTOR);
    const root = join(engine.directory, 'volumes');
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const volume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
    harness = await DockerBackendHarness.make({ engine, volume });
  }, 120_000);
  beforeEach(() => {
    execFileSync('tar', ['-cJf', archive, '-C', join(packages, 'content'), '.']);
  });
  afterEach(async () => {
    for (const { Id } of await engine.docker.listContainers({ all: true }))
      await engine.docker.getContainer(Id).remove({ force: true });
    for (const { Name } of (await engine.docker.listVolumes()).Volumes)
      await engine.docker.getVolume(Name).remove();
  }, 60_000);
  afterAll(() => harness[Symbol.asyncDispose]());

  const open = (volume = VOLUME) =>
    harness.open({
      originalRunner: { packageDirectory: join(packages, 'runner'), volumes: { 'static-gnu': volume } },
    });
  const names = async () => ({
    volumes: (await engine.docker.listVolumes()).Volumes.map(({ Name }) => Name),
    containers: (await engine.docker.listContainers({ all: true })).flatMap(({ Names }) => Names),
  });
  const inVolume = async (command: string): Promise<string> => {
    const container = await engine.docker.createContainer({
      Image: BUSYBOX_IMAGE,
      Cmd: ['sh', '-c', command],
      Tty: true,
      HostConfig: { Mounts: [{ Type: 'volume', Source: VOLUME, Target: '/v' }] },
    });
    await container.start();
    await container.wait();
    const log = await container.logs({ stdout: true, stderr: true });
    await container.remove();
    return log.toString().replaceAll('\r', '');
  };

  test('one that is missing is filled from the installed package, once', async () => {
    await open();
    expect(await names()).toEqual({ volumes: [VOLUME], containers: [] });
    expect(await inVolume('cat /v/bin/python /v/VERSION; echo mine > /v/mine')).toBe('a program14\n');
    await open();
    expect(await inVolume('cat /v/mine')).toBe('mine\n');
  });

  test('one whose archive is damaged is not there afterwards, and the error has the words of tar', async () => {
    await writeFile(archive, 'no archive');
    await expect(open()).rejects.toMatchObject({
      code: 'RUNNER_PACKAGE',
      message: expect.stringMatching(new RegExp(`volume ${VOLUME} cannot be filled: .*tar`, 's')) as unknown,
    });
    expect(await names()).toEqual({ volumes: [], containers: [] });
  });

  test.each([
    ['was being filled when its agent ended is begun anew', 'exit 1', 'a program'],
    ['was filled after its agent had ended is kept', 'echo whole > /v/bin', 'whole\n'],
  ])('one that %s', async (_, command, content) => {
    const left = await engine.docker.createContainer({
      name: `splenium.fill.${VOLUME}`,
      Image: BUSYBOX_IMAGE,
      Cmd: ['sh', '-c', `sleep 1; ${command}`],
      Labels: { [FILL]: VOLUME },
      HostConfig: { Mounts: [{ Type: 'volume', Source: VOLUME, Target: '/v' }] },
    });
    await left.start();
    await open();
    expect(await names()).toEqual({ volumes: [VOLUME], containers: [] });
    expect(await inVolume('if [ -f /v/bin ]; then cat /v/bin; else cat /v/bin/python; fi')).toBe(content);
  });

  test('one of another version than the package has is refused, and nothing is made', async () => {
    await expect(open(VOLUME.replace('v14', 'v9'))).rejects.toMatchObject({
      code: 'RUNNER_PACKAGE',
      message: expect.stringContaining(`name it ${VOLUME}`) as unknown,
    });
    expect(await names()).toEqual({ volumes: [], containers: [] });
  });

  test('a package without the image that unpacks is told what it lacks', async () => {
    await engine.docker
      .getImage(EXTRACTOR)
      .remove({ force: true })
      .catch(() => undefined);
    await rm(join(packages, 'runner/krunner-extractor.img.x86_64.tar.xz'));
    await expect(open()).rejects.toMatchObject({
      code: 'RUNNER_PACKAGE',
      message: expect.stringContaining(`lacks the image ${EXTRACTOR}`) as unknown,
    });
    expect(await names()).toEqual({ volumes: [], containers: [] });
  });

  const python = pathOf(ORIGINAL_PYTHON);
  const isThere = requirement(
    `${ORIGINAL_PYTHON.what}, named by ${ORIGINAL_PYTHON.variable}: its archive in a volume`,
    python !== '',
  );
  (isThere ? test : test.skip)(
    'the real package: its own image unpacks its archive',
    async () => {
      const where = "import sysconfig; print(sysconfig.get_path('purelib'))";
      const site = execFileSync(python, ['-c', where], { encoding: 'utf8' }).trim();
      await engine.docker
        .getImage(EXTRACTOR)
        .remove({ force: true })
        .catch(() => undefined);
      const packageDirectory = join(site, 'ai/backend/runner');
      await harness.open({ originalRunner: { packageDirectory, volumes: { 'static-gnu': VOLUME } } });
      expect(await names()).toEqual({ volumes: [VOLUME], containers: [] });
      expect(await inVolume('cat /v/VERSION; ls /v/bin | grep -x python')).toBe('14\npython\n');
    },
    120_000,
  );
});
