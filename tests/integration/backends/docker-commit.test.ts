import { randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelCommit } from '../../../src/agent/agent.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { parseKernelId } from '../../../src/core/ids.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import type { ConsoleResult } from '../../../src/runner/execution.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { eventually } from '../../support/eventually.js';
import { expectNoRemains } from '../../support/kernel-remains.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, type AgentBenchOptions, NEVER } from '../agent/agent-bench.js';
import { bundleRunner, textOf } from '../runner/runner-process.js';

/** Another file of tests may run at the same time. */
const FIRST_PORT = randomInt(10_000, 17_000);

const MADE = 'localhost:5000/user/busybox:mine';
const PATIENT = { timeoutMs: 50_000 };
/** Kernels are pinned to cores, so they must be real ones; several share one where there are few. */
const THIS_MACHINE = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };

await describeWithEngine('commits of kernels on a real engine', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let bench: AgentBench;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const bundle = await bundleRunner();
    try {
      const root = join(engine.directory, 'volumes');
      volume = (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
    } finally {
      await bundle.remove();
    }
  }, 120_000);
  afterEach(async () => {
    await bench.agent.reset(NEVER);
    await expectNoRemains(bench);
    await bench.stop();
    await bench.remove();
    await harness[Symbol.asyncDispose]();
    for (const { Id, RepoTags } of await engine.docker.listImages({ all: true }))
      if (!RepoTags?.includes(BUSYBOX_IMAGE))
        await engine.docker
          .getImage(Id)
          .remove({ force: true })
          .catch(() => undefined);
  }, 120_000);

  const open = async (options: AgentBenchOptions = {}) => {
    harness = await DockerBackendHarness.make({ engine, volume });
    bench = await AgentBench.start(await harness.open(), {
      resources: THIS_MACHINE,
      firstPort: FIRST_PORT,
      ...options,
    });
  };
  const create = async (canonical = BUSYBOX_IMAGE): Promise<KernelCreationRequest> => {
    const usual = kernelRequest().config;
    const labels = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' };
    const request = kernelRequest({
      config: { image: { ...usual.image, canonical, isLocal: true, autoPull: 'none', labels } },
    });
    const { kernelId } = request;
    await mkdir(join(bench.directory, 'scratches'), { recursive: true });
    await bench.agent.createKernels([request], NEVER);
    return { ...request, kernelId: parseKernelId(kernelId) };
  };
  const run = async ({ kernelId }: KernelCreationRequest, code: string): Promise<string> => {
    const request = {
      runId: null,
      mode: 'query' as const,
      code,
      opts: {},
      apiVersion: 3,
      flushTimeoutMs: 30_000,
    };
    const result = (await bench.agent.execute(kernelId, request, NEVER)) as ConsoleResult;
    return textOf(result, 'stdout').replaceAll('\r', '');
  };
  const commit = async ({ kernelId }: KernelCreationRequest, changes: Partial<KernelCommit> = {}) =>
    bench.agent.commit({
      ...{ kernelId, subdir: 'user', canonical: null, filename: null, extraLabels: {} },
      ...changes,
    });
  const endOf = (taskId: string) =>
    eventually(() => {
      const ends = [...bench.events.named('bgtask_done'), ...bench.events.named('bgtask_failed')].filter(
        (event) => event.taskId === taskId,
      );
      expect(ends).toHaveLength(1);
      return ends[0];
    }, PATIENT);
  const lockNames = () => readdir(join(bench.directory, 'commits', 'user', 'lock'));
  const imageIds = async () => (await engine.docker.listImages()).map(({ Id }) => Id).sort();
  const containerOf = async ({ kernelId }: KernelCreationRequest) => {
    const filters = { label: [`ai.backend.kernel-id=${kernelId}`] };
    const [found] = await engine.docker.listContainers({ all: true, filters });
    return engine.docker.getContainer(found?.Id ?? 'none').inspect();
  };

  test('a commit is an image, and a kernel of that image has the files of the first', async () => {
    await open();
    const first = await create();
    expect(await run(first, 'echo kept > /kept.txt; echo done')).toBe('done\n');
    const { taskId } = await commit(first, {
      canonical: MADE,
      extraLabels: { 'ai.backend.customized-image.name': 'two words, "quoted" \\ and $HOME' },
    });
    expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done', message: null });
    expect(await lockNames()).toEqual([]);
    const { Config } = await engine.docker.getImage(MADE).inspect();
    expect(Config.Labels).toMatchObject({
      'ai.backend.customized-image.name': 'two words, "quoted" \\ and $HOME',
      'ai.backend.owner': '',
      'ai.backend.kernel-id': '',
      'ai.backend.splenium.state': '',
    });
    // The first goes on as if nothing had been.
    expect(await run(first, 'cat /kept.txt')).toBe('kept\n');
    const second = await create(MADE);
    expect(await run(second, 'cat /kept.txt')).toBe('kept\n');
    expect((await containerOf(second)).Config.Labels).toMatchObject({
      'ai.backend.owner': 'i-one',
      'ai.backend.kernel-id': second.kernelId,
    });
    expect(bench.agent.kernels.size).toBe(2);
  });

  test('a commit to a file can be loaded again, with its labels, and leaves no image', async () => {
    await open();
    const kernel = await create();
    await run(kernel, 'echo kept > /kept.txt');
    const before = await imageIds();
    // Managers give the name of the kernel's own image along with the file.
    const { taskId, path } = await commit(kernel, {
      filename: 'mine.tar.gz',
      canonical: BUSYBOX_IMAGE,
      extraLabels: { 'my.label': 'mine' },
    });
    expect(path).toBe('user/mine.tar.gz');
    expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done' });
    expect(await imageIds()).toEqual(before);
    const file = join(bench.directory, 'commits', 'user', 'mine.tar.gz');
    expect((await readFile(file)).subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    const loading = await engine.docker.loadImage(createReadStream(file));
    let text = '';
    for await (const chunk of loading as AsyncIterable<Buffer>) text += chunk.toString();
    const [id] = /sha256:[0-9a-f]{64}/.exec(text) ?? [];
    const { Config } = await engine.docker.getImage(id ?? text).inspect();
    expect(Config.Labels).toMatchObject({ 'my.label': 'mine' });
    expect(await readdir(join(bench.directory, 'commits', 'user'))).toEqual(['lock', 'mine.tar.gz']);
  });

  test('a commit beyond its time limit is a failure, and the image that comes late goes away', async () => {
    await open({ commits: { timeoutMs: 200 } });
    const kernel = await create();
    await run(kernel, 'dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null; echo done');
    const before = await imageIds();
    const { taskId } = await commit(kernel, { canonical: MADE });
    expect(await endOf(taskId)).toMatchObject({
      name: 'bgtask_failed',
      message: expect.stringContaining('TimeoutError') as unknown,
    });
    expect(await lockNames()).toEqual([]);
    // The engine's own end of it: nobody sees it but by what it leaves.
    await eventually(async () => {
      expect((await containerOf(kernel)).State.Paused).toBe(false);
      expect(await imageIds()).toEqual(before);
    }, PATIENT);
    expect(await run(kernel, 'echo alive')).toBe('alive\n');
  });

  test('of two commits at once the second does nothing, and the first is whole', async () => {
    await open();
    const kernel = await create();
    await run(kernel, 'dd if=/dev/zero of=/big bs=1M count=200 2>/dev/null; echo done');
    const [first, second] = await Promise.all([
      commit(kernel, { canonical: MADE }),
      commit(kernel, { canonical: 'localhost:5000/user/busybox:other' }),
    ]);
    const ends = await Promise.all([endOf(first.taskId), endOf(second.taskId)]);
    expect(ends.map((end) => end?.name)).toEqual(['bgtask_done', 'bgtask_done']);
    expect(ends.filter((end) => end?.message !== null)).toHaveLength(1);
    const tags = (await engine.docker.listImages()).flatMap(({ RepoTags }) => RepoTags ?? []);
    expect(tags.filter((tag) => tag.startsWith('localhost:5000/'))).toHaveLength(1);
    expect(await lockNames()).toEqual([]);
  });

  test('a kernel that is destroyed meanwhile is gone, and so is everything of its commit', async () => {
    await open();
    const kernel = await create();
    const { kernelId, sessionId } = kernel;
    await run(kernel, 'dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null; echo done');
    const before = await imageIds();
    const { taskId } = await commit(kernel, { canonical: MADE, filename: 'mine.tar.gz' });
    await eventually(
      async () => {
        expect((await containerOf(kernel)).State.Paused).toBe(true);
      },
      { ...PATIENT, intervalMs: 5 },
    );
    expect(await bench.agent.commitStatus(kernelId, 'user')).toBe('ongoing');
    await bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
    expect(await endOf(taskId)).toMatchObject({
      name: 'bgtask_failed',
      message: expect.stringContaining('the kernel was ended meanwhile') as unknown,
    });
    expect(await readdir(join(bench.directory, 'commits', 'user'))).toEqual(['lock']);
    expect(await lockNames()).toEqual([]);
    await eventually(async () => {
      expect(await imageIds()).toEqual(before);
    }, PATIENT);
  });
});
