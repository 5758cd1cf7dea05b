import { join } from 'node:path';
import { readFile } from 'node:fs/promises';
import type { KernelBackend, KernelHandle } from '../../../src/backends/backend.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { parseAgentId, type KernelId } from '../../../src/core/ids.js';
import { noMetrics } from '../../../src/core/metrics.js';
import { Questions } from '../../../src/core/questions.js';
import {
  KernelReader,
  KernelStatistics,
  KernelUsageReader,
  readText,
  UtilizationGauges,
} from '../../../src/stats/index.js';
import type { StatisticsRecord } from '../../../src/stats/sink.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const NEVER = new AbortController().signal;
const PATIENT = { timeoutMs: 50_000, intervalMs: 200 };
const MIB = 1024 * 1024;

await describeWithEngine('statistics of containers on a real engine', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const built = await buildRunnerVolume({
      root: join(engine.directory, 'volumes'),
      runnerPath: STUB_RUNNER,
      entrypointPath: await bundleEntrypoint(engine.directory),
    });
    volume = built.directory;
  }, 120_000);
  beforeEach(async () => {
    harness = await DockerBackendHarness.make({ engine, volume });
    backend = await harness.open();
  });
  afterEach(() => harness[Symbol.asyncDispose](), 90_000);

  /** What is published of these kernels, round by round. */
  function statisticsOf(on: KernelBackend, handles: readonly KernelHandle[]) {
    let last: ReadonlyMap<KernelId, StatisticsRecord> = new Map();
    const reader = new KernelReader({
      sources: async () => (await on.usageSources?.(handles)) ?? new Map(),
      usage: new KernelUsageReader({ readText, questions: new Questions({ timeoutMs: 20_000 }) }),
      sourcesTimeoutMs: 20_000,
      clock: systemClock,
    });
    const statistics = new KernelStatistics({
      running: () =>
        handles.map(({ kernelId, sessionId, containerId }) => ({
          kernelId,
          sessionId,
          containerId,
          ownerUserId: null,
          ownerProjectId: null,
          memoryBytes: null,
        })),
      read: () => reader.read(),
      gauges: new UtilizationGauges(parseAgentId('i-docker-test'), noMetrics),
      sink: {
        node: () => Promise.resolve(),
        kernels: (records) => {
          last = records;
          return Promise.resolve();
        },
        processes: () => Promise.resolve(),
      },
    });
    return async (): Promise<ReadonlyMap<KernelId, StatisticsRecord>> => {
      last = new Map();
      await statistics.collect();
      return last;
    };
  }

  const start = async () => {
    const plan = await harness.plan();
    const handle = await backend.create(plan, NEVER);
    await backend.start(handle, NEVER);
    await harness.stub(plan).ready();
    return { plan, handle, stub: harness.stub(plan) };
  };
  const current = (record: StatisticsRecord | undefined, metric: string) =>
    Number(record?.[metric]?.['current'] ?? NaN);

  test('a busy container is seen to work, an idle one beside it is not, and an ended one is gone', async () => {
    const [busy, idle] = [await start(), await start()];
    const collect = statisticsOf(backend, [busy.handle, idle.handle]);
    const before = await collect();
    expect(new Set(before.keys())).toEqual(new Set([busy.handle.kernelId, idle.handle.kernelId]));
    const first = before.get(busy.handle.kernelId);
    expect(current(first, 'mem')).toBeGreaterThan(4 * MIB);
    // The limit is the container's, not the machine's.
    expect(first?.['mem']?.['capacity']).toBe(String(512 * MIB));

    await busy.stub.order('eat 100');
    await busy.stub.order('spin 2000');
    const after = await eventually(async () => {
      const records = await collect();
      const record = records.get(busy.handle.kernelId);
      expect(current(record, 'cpu_used') - current(first, 'cpu_used')).toBeGreaterThan(1000);
      expect(current(record, 'mem') - current(first, 'mem')).toBeGreaterThan(80 * MIB);
      return records;
    }, PATIENT);
    const grown = (kernelId: KernelId, metric: string) =>
      current(after.get(kernelId), metric) - current(before.get(kernelId), metric);
    expect(grown(idle.handle.kernelId, 'cpu_used')).toBeLessThan(grown(busy.handle.kernelId, 'cpu_used'));
    expect(grown(idle.handle.kernelId, 'mem')).toBeLessThan(80 * MIB);

    await backend.stop(busy.handle, { graceMs: 10_000 });
    expect([...(await collect()).keys()]).toEqual([idle.handle.kernelId]);
  }, 120_000);

  test('the processes are those of the container, and its traffic is not that of the machine', async () => {
    const { handle, stub } = await start();
    const { pid } = await stub.ready();
    const left = await stub.leaveProcess();
    const source = (await backend.usageSources?.([handle]))?.get(handle.kernelId);
    expect(source?.pids).toEqual(expect.arrayContaining([pid, left]));
    expect(source?.pids).not.toContain(process.pid);
    for (const directory of source?.cgroups ?? []) expect(directory).toContain(handle.containerId);
    const traffic = await readFile(source?.trafficFile ?? '', 'utf8');
    expect(traffic).toContain('eth0:');
    expect(traffic).not.toBe(await readFile('/proc/self/net/dev', 'utf8'));
  }, 120_000);

  test('a backend that finds the container again needs no more than the handle', async () => {
    const { handle } = await start();
    const second = await harness.open();
    const journalled = JSON.parse(JSON.stringify(handle)) as KernelHandle;
    expect((await statisticsOf(second, [journalled])()).size).toBe(1);
    await second.remove(handle);
    expect(await second.usageSources?.([journalled])).toEqual(new Map());
  }, 120_000);
});
