import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { deferred } from '../../../src/core/async.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { DockerRegistry } from '../../support/docker-registry.js';
import { EngineProxy, type EngineFault } from '../../support/engine-proxy.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { kernelRemains, NO_REMAINS } from '../../support/kernel-remains.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, type AgentBenchOptions, NEVER } from '../agent/agent-bench.js';
import { bundleRunner } from '../runner/runner-process.js';

const PATIENT = { timeoutMs: 50_000 };
const THIS_MACHINE = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };
/** Below those that the system gives to connections. */
const FIRST_PORT = randomInt(10_000, 17_000);
const FAULTS: readonly EngineFault[] = ['unsent', 'refused', 'unanswered'];

/** Every call to the engine that a creation with a pull makes. */
const CREATION_CALLS = [
  'GET /images/ID/json',
  'POST /images/create',
  'GET /containers/json',
  'POST /containers/create',
  'POST /containers/ID/start',
  'GET /containers/ID/json',
];
/** And every one of an end. */
const DESTRUCTION_CALLS = ['POST /containers/ID/kill', 'GET /containers/ID/logs', 'DELETE /containers/ID'];
/** Calls of a restart that the others do not make in this way: between the two containers. */
const RESTART_CALLS = [
  'POST /containers/ID/kill',
  'DELETE /containers/ID',
  'GET /containers/json',
  'POST /containers/create',
  'POST /containers/ID/start',
];

await describeWithEngine('nothing is left behind on a real engine', (engine) => {
  let volume: string;
  let registry: DockerRegistry;
  let proxy: EngineProxy;
  let harness: DockerBackendHarness;
  let bench: AgentBench;

  beforeAll(async () => {
    registry = await DockerRegistry.start();
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
  afterAll(() => registry.close());
  beforeEach(() => open());
  afterEach(async () => {
    proxy.heal();
    await bench.agent.reset(NEVER).catch(() => undefined);
    await close();
    // What was pulled stays on a node; here the next test pulls it anew.
    await engine.removeImagesOf(registry.name);
  }, 120_000);

  const open = async (
    options: AgentBenchOptions = {},
    { engineDeadlineMs = 30_000 }: { readonly engineDeadlineMs?: number } = {},
  ) => {
    proxy = await EngineProxy.start(join(engine.directory, 'proxy.sock'), engine.socketPath);
    harness = await DockerBackendHarness.make({
      engine,
      volume,
      backend: { socketPath: proxy.socketPath, engineDeadlineMs },
    });
    bench = await AgentBench.start(await harness.open(), {
      resources: THIS_MACHINE,
      firstPort: FIRST_PORT,
      logs: { store: () => Promise.resolve('stored'), chunkBytes: 1024, maxBytes: 4096 },
      ...options,
    });
  };
  const close = async () => {
    await bench.stop();
    await bench.remove();
    await harness[Symbol.asyncDispose]();
    await proxy.stop();
  };
  const requestOf = (canonical: string, isLocal: boolean): KernelCreationRequest => {
    const { image } = kernelRequest().config;
    const labels = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'app' };
    return kernelRequest({
      imageRef: { canonical, architecture: 'x86_64', isLocal },
      config: { image: { ...image, canonical, isLocal, autoPull: 'tag', labels } },
    });
  };
  const local = () => requestOf(BUSYBOX_IMAGE, true);
  const pulled = async () => {
    const canonical = `${registry.name}/test/clean:1`;
    await engine.docker
      .getImage(canonical)
      .remove({ force: true })
      .catch(() => undefined);
    return requestOf(canonical, false);
  };
  const create = (request: KernelCreationRequest) => bench.agent.createKernels([request], NEVER);
  const destroy = ({ kernelId, sessionId }: KernelCreationRequest) =>
    bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
  const restart = ({ kernelId, sessionId, imageRef }: KernelCreationRequest) =>
    bench.agent.restartKernel({ kernelId, sessionId, imageRef, updatedConfig: {} }, NEVER);
  const outcomeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      () => 'failed',
    );
  const ends = ({ kernelId }: KernelCreationRequest) =>
    bench.events.named('kernel_terminated').filter((event) => event.kernelId === kernelId);
  const containerOf = async ({ kernelId }: KernelCreationRequest) => {
    const filters = { label: [`ai.backend.kernel-id=${kernelId}`] };
    const [found] = await engine.docker.listContainers({ all: true, filters });
    return found?.Id ?? 'none';
  };
  /** Of images of the registry. */
  const tags = async () =>
    (await engine.docker.listImages()).flatMap(({ RepoTags }) =>
      (RepoTags ?? []).filter((tag) => tag.startsWith(registry.name)),
    );

  /** What is left of kernels, on the engine, on this machine and in the books. */
  const leftovers = async () => {
    const networks = (await engine.docker.listNetworks()).map(({ Name }) => Name);
    return {
      engine: await harness.leftovers(),
      networks: networks.filter((name) => !['bridge', 'host', 'none'].includes(name)),
      ...(await kernelRemains(bench)),
    };
  };
  const NOTHING = { engine: [], networks: [], ...NO_REMAINS };
  const isClean = () =>
    eventually(async () => {
      expect(await leftovers()).toEqual(NOTHING);
    }, PATIENT);
  /** A kernel that was announced ends once, whoever ends it. */
  const endsOnce = async (request: KernelCreationRequest) => {
    await isClean();
    // What a look finds that compares the engine with the books is told as an end too.
    expect(await bench.agent.compareWithBackend()).toMatchObject({ ended: [] });
    expect(ends(request)).toHaveLength(1);
  };

  test('the tables name every call of a kernel’s life', async () => {
    const request = await pulled();
    proxy.calls = [];
    await create(request);
    expect(new Set(proxy.calls)).toEqual(new Set(CREATION_CALLS));
    expect((await leftovers()).scratches).toEqual([request.kernelId]);
    expect((await leftovers()).records).toHaveLength(1);
    proxy.calls = [];
    await destroy(request);
    expect(new Set(proxy.calls)).toEqual(new Set(DESTRUCTION_CALLS));
    await endsOnce(request);
  });

  const casesOf = (calls: readonly string[]) =>
    calls.flatMap((call) => FAULTS.map((fault) => [call, fault] as const));

  test.each(casesOf(CREATION_CALLS))('a creation whose call %s is %s', async (call, fault) => {
    const request = await pulled();
    proxy.fail(call, fault);
    const outcome = await outcomeOf(create(request));
    expect(proxy.isArmed).toBe(false);
    if (outcome === 'done') await destroy(request);
    await endsOnce(request);
  });

  test.each(casesOf(DESTRUCTION_CALLS))('an end whose call %s is %s', async (call, fault) => {
    const request = local();
    await create(request);
    proxy.fail(call, fault);
    await outcomeOf(destroy(request));
    expect(proxy.isArmed).toBe(false);
    await endsOnce(request);
  });

  test.each(casesOf(RESTART_CALLS))('a restart whose call %s is %s', async (call, fault) => {
    const request = local();
    await create(request);
    proxy.fail(call, fault);
    const outcome = await outcomeOf(restart(request));
    expect(proxy.isArmed).toBe(false);
    if (outcome === 'done') {
      expect(await harness.leftovers()).toHaveLength(1);
      await destroy(request);
    }
    await endsOnce(request);
  });

  test.each(FAULTS)('a network whose creation and removal are %s', async (fault) => {
    proxy.fail('POST /networks/create', fault);
    await outcomeOf(bench.agent.createLocalNetwork('bai-clean'));
    await bench.agent.createLocalNetwork('bai-clean');
    expect((await leftovers()).networks).toEqual(['bai-clean']);
    proxy.fail('DELETE /networks/ID', fault);
    await outcomeOf(bench.agent.destroyLocalNetwork('bai-clean'));
    await bench.agent.destroyLocalNetwork('bai-clean');
    await isClean();
  });

  test('a creation whose runner does not answer in time', async () => {
    await close();
    await open({
      settings: { readiness: { attempts: 1, attemptTimeoutMs: 1, totalTimeoutMs: 1, intervalMs: 1 } },
    });
    const request = local();
    await expect(create(request)).rejects.toThrow(/Timeout during container startup/);
    await endsOnce(request);
    expect(ends(request)).toMatchObject([{ reason: 'failed-to-start' }]);
  });

  test('a pull that breaks off leaves no image', async () => {
    const request = await pulled();
    registry.breaks = true;
    try {
      await expect(create(request)).rejects.toMatchObject({
        code: expect.stringContaining('PULL') as unknown,
      });
    } finally {
      registry.breaks = false;
    }
    await endsOnce(request);
    expect(await tags()).toEqual([]);
  });

  describe('a destroy request', () => {
    test('while the image is pulled (C3)', async () => {
      const request = await pulled();
      const gate = deferred<void>();
      registry.gate = gate.promise;
      const creation = outcomeOf(create(request));
      try {
        await eventually(() => {
          expect(bench.events.names).toContain('kernel_pulling');
        });
        await destroy(request);
        expect(await creation).toBe('failed');
      } finally {
        gate.resolve();
        registry.gate = Promise.resolve();
      }
      await endsOnce(request);
      expect(await tags()).toEqual([]);
    });

    test.each([
      'POST /containers/create',
      'POST /containers/create:after',
      'POST /containers/ID/start',
      'POST /containers/ID/start:after',
    ])('while a creation is at %s', async (point) => {
      const request = local();
      const hang = proxy.hang(point);
      const creation = outcomeOf(create(request));
      await hang.entered;
      const end = destroy(request);
      hang.release();
      await end;
      expect(await creation).toBe('failed');
      await endsOnce(request);
      expect(ends(request)).toMatchObject([{ reason: 'user-requested' }]);
    });

    test.each(['DELETE /containers/ID', 'POST /containers/create:after', 'POST /containers/ID/start:after'])(
      'while a restart is at %s (D16)',
      async (point) => {
        const request = local();
        await create(request);
        const hang = proxy.hang(point);
        const restarting = outcomeOf(restart(request));
        await hang.entered;
        const end = destroy(request);
        hang.release();
        await end;
        expect(await restarting).toBe('failed');
        await endsOnce(request);
        expect(ends(request)).toMatchObject([{ reason: 'user-requested' }]);
      },
    );

    test('of a container that somebody has removed (D5)', async () => {
      const request = local();
      await create(request);
      // The report of this end may come before the request; the kernel ends once all the same.
      await engine.docker.getContainer(await containerOf(request)).remove({ force: true });
      await destroy(request);
      await isClean();
      expect(ends(request).filter(({ reason }) => reason !== 'already-terminated')).toHaveLength(1);
    });

    test('that comes twice at once (D1)', async () => {
      const request = local();
      await create(request);
      await Promise.all([destroy(request), destroy(request)]);
      await endsOnce(request);
      expect(ends(request)).toMatchObject([{ reason: 'user-requested' }]);
    });

    test('while the engine hangs fails at its deadline and is made up for (D8)', async () => {
      await close();
      await open({}, { engineDeadlineMs: 3000 });
      const request = local();
      await create(request);
      const pid = await engine.pid();
      process.kill(pid, 'SIGSTOP');
      try {
        await expect(destroy(request)).rejects.toMatchObject({ code: 'KERNEL_CLEANUP_FAILED' });
        expect(bench.agent.examine()).toEqual([]);
        expect(ends(request)).toEqual([]);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await endsOnce(request);
    });
  });

  describe('an engine that is killed and comes back', () => {
    const restartEngineAt = async (point: string, work: () => Promise<unknown>) => {
      const hang = proxy.hang(point);
      const outcome = outcomeOf(work());
      await hang.entered;
      await engine.kill();
      hang.release();
      try {
        await outcome;
      } finally {
        await engine.resume();
      }
      return outcome;
    };

    test.each([
      'POST /images/create',
      'POST /containers/create',
      'POST /containers/create:after',
      'POST /containers/ID/start',
      'POST /containers/ID/start:after',
    ])(
      'while a creation is at %s (D9)',
      async (point) => {
        const request = await pulled();
        if ((await restartEngineAt(point, () => create(request))) === 'done') await destroy(request);
        await endsOnce(request);
      },
      120_000,
    );

    test.each(['POST /containers/ID/kill', 'DELETE /containers/ID', 'DELETE /containers/ID:after'])(
      'while a kernel ends, at %s (D9)',
      async (point) => {
        const request = local();
        await create(request);
        await restartEngineAt(point, () => destroy(request));
        await endsOnce(request);
        expect(ends(request)).toMatchObject([{ reason: 'user-requested' }]);
      },
      120_000,
    );
  });
});
