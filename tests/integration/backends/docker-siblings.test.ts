import { randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostedAgent } from '../../../src/agent/hosted-agent.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { expectNoRemains } from '../../support/kernel-remains.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, NEVER } from '../agent/agent-bench.js';
import { bundleRunner } from '../runner/runner-process.js';

const PATIENT = { timeoutMs: 50_000 };
const THIS_MACHINE = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };

/** Below those that the system gives to connections. */
const FIRST_PORT = randomInt(10_000, 17_000);

/** One of two agents, with what it has made. */
interface Side {
  readonly bench: AgentBench;
  readonly agent: HostedAgent;
  readonly request: KernelCreationRequest;
}

await describeWithEngine('two agents on one engine', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let benches: AgentBench[];
  let own: Side;
  let sibling: Side;

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

  const create = async (agent: HostedAgent): Promise<KernelCreationRequest> => {
    const { image } = kernelRequest().config;
    const labels = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'app' };
    const request = kernelRequest({
      config: { image: { ...image, canonical: BUSYBOX_IMAGE, isLocal: true, autoPull: 'none', labels } },
    });
    await agent.createKernels([request], NEVER);
    return request;
  };
  const containerOf = async ({ kernelId }: KernelCreationRequest) => {
    const filters = { label: [`ai.backend.kernel-id=${kernelId}`] };
    const found = await engine.docker.listContainers({ all: true, filters });
    return found.map(({ Id, State }) => [Id, State]);
  };
  /** Everything that there is of a side's kernel: to be the same whatever the other side does. */
  const stateOf = async ({ bench, agent, request }: Side) => {
    const directory = join(bench.directory, 'scratches');
    const scratch = (await readdir(directory)).includes(request.kernelId)
      ? (await readdir(join(directory, request.kernelId), { recursive: true })).sort()
      : null;
    const kernel = agent.kernels.find(request.kernelId);
    const records = await readdir(join(AgentBench.stateDirectoryOf(bench.directory, agent.id), 'kernels'));
    return {
      kernels: [...agent.kernels].map(({ id }) => id),
      facts: kernel?.facts ?? null,
      scratch,
      records,
      container: await containerOf(request),
      usage: agent.resourceUsage().kernels,
      ports: bench.pools.flatMap((pool) => [...pool.holders()].filter(([, id]) => id === request.kernelId)),
      ends: bench.events.named('kernel_terminated').filter((event) => event.kernelId === request.kernelId),
      defects: agent.examine(),
    };
  };
  const sideOf = async (bench: AgentBench, agent: HostedAgent): Promise<Side> => {
    const side = { bench, agent, request: await create(agent) };
    await eventually(() => {
      expect(agent.kernels.get(side.request.kernelId).startAnnounced).toBe(true);
    });
    return side;
  };
  const goneOf = async ({ bench, agent, request }: Side) => {
    await eventually(() => {
      expect(agent.kernels.has(request.kernelId)).toBe(false);
    }, PATIENT);
    // Its record goes after the announcement.
    await eventually(async () => {
      expect((await stateOf({ bench, agent, request })).records).toEqual([]);
    }, PATIENT);
    expect(await containerOf(request)).toEqual([]);
  };

  beforeEach(async () => {
    harness = await DockerBackendHarness.make({ engine, volume });
    benches = [];
  });
  afterEach(async () => {
    for (const bench of benches) {
      for (const agent of bench.agents) await agent.reset(NEVER);
      await expectNoRemains(bench);
      await bench.stop();
      await bench.remove();
    }
    await harness[Symbol.asyncDispose]();
  }, 120_000);

  const start = async (agentIds: readonly string[], directory?: string): Promise<AgentBench> => {
    const bench = await AgentBench.start(await harness.open(), {
      resources: THIS_MACHINE,
      agentIds,
      firstPort: FIRST_PORT + 200 * benches.length,
      ...(directory === undefined ? {} : { directory }),
    });
    benches.push(bench);
    return bench;
  };

  describe.each(['in one daemon', 'in two daemons'] as const)('%s', (how) => {
    beforeEach(async () => {
      const one = await start(how === 'in one daemon' ? ['i-own', 'i-sibling'] : ['i-own']);
      const other = how === 'in one daemon' ? one : await start(['i-sibling']);
      own = await sideOf(one, one.agent);
      sibling = await sideOf(other, other.agents.at(-1) ?? other.agent);
    });

    test("a sibling's die event changes nothing: registry, journal, scratch and books of both (D11)", async () => {
      const before = await stateOf(own);
      expect(before).toMatchObject({
        kernels: [own.request.kernelId],
        records: [expect.anything()],
        ends: [],
      });
      expect(before.scratch).not.toBeNull();
      const [[id] = []] = await containerOf(sibling.request);
      await engine.docker.getContainer(id ?? '').kill({ signal: 'SIGKILL' });
      await goneOf(sibling);
      expect(await stateOf(sibling)).toMatchObject({
        kernels: [],
        scratch: null,
        records: [],
        container: [],
        usage: {},
        ports: [],
        ends: [{ reason: 'self-terminated', exitCode: -9 }],
        defects: [],
      });
      expect(await stateOf(own)).toEqual(before);
      // Its own comes after the sibling's, so nothing of the sibling's is on its way any more.
      const [[ownId] = []] = await containerOf(own.request);
      await engine.docker.getContainer(ownId ?? '').kill({ signal: 'SIGKILL' });
      await goneOf(own);
      expect((await stateOf(own)).ends).toMatchObject([{ reason: 'self-terminated' }]);
      expect((await stateOf(sibling)).ends).toHaveLength(1);
    });

    test('each lists and counts only its own', async () => {
      expect(own.agent.resourceUsage().kernels).toHaveProperty([own.request.kernelId]);
      expect(own.agent.resourceUsage().kernels).not.toHaveProperty([sibling.request.kernelId]);
      expect(sibling.agent.resourceUsage().kernels).not.toHaveProperty([own.request.kernelId]);
      expect([...own.agent.kernels].map(({ id }) => id)).toEqual([own.request.kernelId]);
      expect([...sibling.agent.kernels].map(({ id }) => id)).toEqual([sibling.request.kernelId]);
      for (const { agent, request } of [own, sibling])
        expect((await (await harness.open()).list(agent.id)).map(({ kernelId }) => kernelId)).toEqual([
          request.kernelId,
        ]);
    });

    test('a comparison with the engine ends nothing of the sibling, not even what the sibling lost', async () => {
      const before = await stateOf(own);
      expect(await own.agent.compareWithBackend()).toMatchObject({ ended: [] });
      expect(await sibling.agent.compareWithBackend()).toMatchObject({ ended: [] });
      expect(await stateOf(own)).toEqual(before);
      expect((await stateOf(sibling)).ends).toEqual([]);
    });

    test('a restart, an end and a purge of one leave the other as it was', async () => {
      const before = await stateOf(own);
      const { sessionId, kernelId, imageRef } = sibling.request;
      await sibling.agent.restartKernel({ sessionId, kernelId, imageRef, updatedConfig: {} }, NEVER);
      expect(await stateOf(own)).toEqual(before);
      // By the sibling's mistake: the containers of another agent are none of its own.
      const containerId = own.agent.kernels.get(own.request.kernelId).containerId;
      if (containerId !== null)
        await sibling.agent.purgeContainers([{ containerId, kernelId: own.request.kernelId }]);
      await sibling.agent.dropKernelRegistry([own.request.kernelId]);
      await sibling.agent.syncKernelRegistry([{ kernelId, sessionId }]);
      await sibling.agent.reset(NEVER);
      expect(await containerOf(sibling.request)).toEqual([]);
      expect(await stateOf(own)).toEqual(before);
    });
  });

  test('a daemon that starts anew cleans up its own left-overs only (R10)', async () => {
    const one = await start(['i-own']);
    const other = await start(['i-sibling']);
    own = await sideOf(one, one.agent);
    sibling = await sideOf(other, other.agent);
    const before = await stateOf(own);
    // One that ends while its daemon is away, and one of nobody.
    benches = [one];
    await other.stop();
    const [[id] = []] = await containerOf(sibling.request);
    await engine.docker.getContainer(id ?? '').kill({ signal: 'SIGKILL' });
    const foreign = await engine.docker.createContainer({
      Image: BUSYBOX_IMAGE,
      Cmd: ['true'],
      name: 'kernel.foreign',
    });
    const next = await start(['i-sibling'], other.directory);
    await eventually(() => {
      expect(next.events.named('kernel_terminated')).toMatchObject([
        { kernelId: sibling.request.kernelId, reason: 'self-terminated' },
      ]);
    }, PATIENT);
    expect(await containerOf(sibling.request)).toEqual([]);
    expect((await foreign.inspect()).Name).toBe('/kernel.foreign');
    expect(await stateOf(own)).toEqual(before);
  });
});
