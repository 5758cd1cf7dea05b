import { mkdir, writeFile } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { readHomeFiles } from '../../../src/kernels/lifecycle/home-files.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import type { ConsoleResult } from '../../../src/runner/execution.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { expectNoRemains } from '../../support/kernel-remains.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, NEVER } from '../agent/agent-bench.js';
import { bundleRunner, textOf } from '../runner/runner-process.js';

/** Another file of tests may run at the same time. */
const FIRST_PORT = randomInt(10_000, 17_000);
const THIS_MACHINE = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };
const UID = 1234;

await describeWithEngine('the home of a kernel in a container', (engine) => {
  let harness: DockerBackendHarness;
  let bench: AgentBench;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const directory = join(engine.directory, 'package');
    await mkdir(directory);
    for (const name of ['.bashrc', '.vimrc', 'logo.svg', 'jupyter-custom.css'])
      await writeFile(join(directory, name), `of the package: ${name}\n`);
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const bundle = await bundleRunner();
    const root = join(engine.directory, 'volumes');
    const volume = (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
    await bundle.remove();
    harness = await DockerBackendHarness.make({ engine, volume });
    bench = await AgentBench.start(await harness.open(), {
      resources: THIS_MACHINE,
      firstPort: FIRST_PORT,
      settings: { homeFiles: await readHomeFiles(directory) },
    });
  }, 120_000);
  afterEach(async () => {
    await bench.agent.reset(NEVER);
    await expectNoRemains(bench);
  }, 60_000);
  afterAll(async () => {
    await bench.stop();
    await bench.remove();
    await harness[Symbol.asyncDispose]();
  }, 120_000);

  test("has the package's files and the user's, all of which are the user's own to change", async () => {
    const usual = kernelRequest().config;
    const labels = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' };
    const image = { ...usual.image, canonical: BUSYBOX_IMAGE, isLocal: true, autoPull: 'none' as const };
    const dotfiles = [{ path: '.vimrc', data: 'of the user', perm: '644' }];
    const request = kernelRequest({
      config: {
        image: { ...image, labels },
        uid: UID,
        mainGid: UID,
        internalData: { ...usual.internalData, dotfiles },
      },
    });
    await mkdir(join(bench.directory, 'scratches'), { recursive: true });
    await bench.agent.createKernels([request], NEVER);
    const run = async (code: string): Promise<string> => {
      const execution = { runId: null, mode: 'query', code, opts: {}, flushTimeoutMs: null, apiVersion: 4 };
      const result = (await bench.agent.execute(request.kernelId, execution, NEVER)) as ConsoleResult;
      return textOf(result, 'stdout').replaceAll('\r', '');
    };
    expect(
      await run(
        'cd ~ && pwd && cat .bashrc .vimrc .jupyter/custom/custom.css && stat -c "%u %g %n" . .bashrc .vimrc .jupyter .jupyter/custom .jupyter/custom/logo.svg && echo mine >> .bashrc && rm .jupyter/custom/logo.svg && ls .jupyter/custom',
      ),
    ).toBe(
      [
        '/home/work',
        'of the package: .bashrc',
        'of the user',
        'of the package: jupyter-custom.css',
        ...['.', '.bashrc', '.vimrc', '.jupyter', '.jupyter/custom', '.jupyter/custom/logo.svg'].map(
          (name) => `${String(UID)} ${String(UID)} ${name}`,
        ),
        'custom.css',
        '',
      ].join('\n'),
    );
  }, 120_000);
});
