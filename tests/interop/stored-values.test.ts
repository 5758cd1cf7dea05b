import type { Redis } from 'ioredis';
import { RedisAbuseReports } from '../../src/stores/redis-abuse-reports.js';
import { RedisCommitStatus } from '../../src/stores/redis-commit-status.js';
import { RedisInstalledImages } from '../../src/stores/redis-installed-images.js';
import { TestDaemon } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';
import { SmallManager } from '../support/manager/small-manager.js';
import { Original } from '../support/original.js';
import { describeRequiring, ORIGINAL_PYTHON, ORIGINAL_PYTHON_26 } from '../support/requirements.js';

type ValueMaps = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Statistics {
  readonly kernel: ValueMaps | null;
  readonly agent: {
    readonly node: ValueMaps;
    readonly devices: Readonly<Record<string, ValueMaps>>;
  } | null;
  readonly process: Readonly<Record<string, ValueMaps>> | null;
  readonly containers: number;
  readonly metadata: Readonly<Record<string, { readonly slot_name: string; readonly display_unit: string }>>;
  readonly commit: readonly (string | null)[];
  readonly abuse: string | null;
  readonly process_keys: readonly string[] | null;
}

/** Metric -> unit and further keys of its value map (spec/events-and-stores.md 5.3 to 5.5). */
const KERNEL_METRICS = {
  cpu_util: ['percent', 'stats.avg', 'stats.max'],
  cpu_used: ['msec'],
  mem: ['bytes', 'stats.max'],
  io_read: ['bytes', 'stats.rate'],
  io_write: ['bytes', 'stats.rate'],
  net_rx: ['bps'],
  net_tx: ['bps'],
  io_scratch_size: ['bytes', 'stats.max'],
} as const;
const NODE_METRICS = {
  cpu_util: ['msec'],
  mem: ['bytes', 'stats.max'],
  disk: ['bytes'],
  net_rx: ['bps'],
  net_tx: ['bps'],
} as const;
const { cpu_util, cpu_used, mem, io_read, io_write } = KERNEL_METRICS;
const PROCESS_METRICS = { cpu_util, cpu_used, mem, io_read, io_write };
const NUMBER = /^\d+(\.\d{1,3})?$/;

/** As the original has decoded them: exactly these metrics, each with its unit and keys, all numbers as text. */
function expectMetrics(
  found: ValueMaps | null | undefined,
  expected: Readonly<Record<string, readonly string[]>>,
): void {
  expect(Object.keys(found ?? {}).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, [unit, ...statistics]] of Object.entries(expected)) {
    const { unit_hint: hint, capacity, ...numbers } = found?.[name] ?? {};
    expect([name, hint]).toEqual([name, unit]);
    expect([name, ...Object.keys(numbers).sort()]).toEqual([name, 'current', 'pct', ...statistics]);
    if (capacity !== null) expect(capacity).toMatch(NUMBER);
    for (const number of Object.values(numbers)) expect(number).toMatch(NUMBER);
  }
}

describe.each([
  { line: '25.17', python: ORIGINAL_PYTHON },
  { line: '26.9', python: ORIGINAL_PYTHON_26 },
])('what a manager of $line reads in Redis', ({ line, python }) => {
  describeRequiring(python, 'the original’s clients', (interpreter) => {
    let stores: SmallManager;
    let daemon: TestDaemon;
    let original: Original;

    beforeAll(async () => {
      stores = await SmallManager.start();
      daemon = await TestDaemon.start({
        agentIds: ['i-one'],
        spleniumKeys: [`manager-version = "${line}"`],
        toml: `${stores.toml}[agent.utilization-metric.node]\ninterval = 1\n[agent.utilization-metric.container]\ninterval = 1\n[agent.utilization-metric.process]\ninterval = 1\n`,
      });
      original = new Original(interpreter);
    }, 120_000);
    afterAll(async () => {
      await original.end();
      await daemon.dispose();
      await stores.close();
    }, 120_000);

    test('statistics of node, kernel and processes, and the log of a kernel that has ended', async () => {
      const client = daemon.client();
      const { kernelId, sessionId, result } = await client.createKernel({
        image: 'local/test/shell:1',
        labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' },
        bootstrapScript: 'echo said before it was ready',
        resourceSlots: { cpu: '1', mem: '67108864' },
      });
      const containerId = result.container_id;
      const read = async () =>
        (await original.ask('statistics', {
          port: stores.redisPort,
          agent_id: 'i-one',
          kernel_id: kernelId,
          container_id: containerId,
        })) as Statistics;
      await eventually(
        async () => {
          const { kernel, agent, process, containers, metadata, process_keys: processKeys } = await read();
          expectMetrics(kernel, KERNEL_METRICS);
          expectMetrics(agent?.node, NODE_METRICS);
          expect(Object.keys(agent?.devices ?? {}).sort()).toEqual(Object.keys(NODE_METRICS).sort());
          expectMetrics({ mem: agent?.devices['mem']?.['root'] ?? {} }, { mem: NODE_METRICS.mem });
          expectMetrics({ cpu_util: agent?.devices['cpu_util']?.['0'] ?? {} }, { cpu_util: ['msec'] });
          expectMetrics({ net_rx: agent?.devices['net_rx']?.['node'] ?? {} }, { net_rx: ['bps'] });
          for (const values of Object.values(process ?? {})) expectMetrics(values, PROCESS_METRICS);
          expect(containers).toBe(1);
          expect(metadata['cpu']).toMatchObject({ slot_name: 'cpu' });
          expect(new Set(processKeys)).toEqual(new Set(['int']));
        },
        { timeoutMs: 60_000 },
      );
      await client.destroyKernel({ kernelId, sessionId });
      await client.close();
      const log = await original.ask('container_log', { port: stores.redisPort, container_id: containerId });
      expect(log).toContain('said before it was ready');
    }, 180_000);

    test('installed images, the state of a commit, a report of abuse', async () => {
      const [image, statistics] = [stores.database(3), stores.database(0)] as [Redis, Redis];
      try {
        const installed = {
          canonical: 'localhost/test/python:1',
          digest: `sha256:${'a'.repeat(64)}`,
          architecture: 'x86_64',
        };
        await new RedisInstalledImages(() => image).store('i-one', [installed]);
        expect(await original.ask('installed_images', { port: stores.redisPort, agent_id: 'i-one' })).toEqual(
          [installed],
        );
        const kernelId = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
        await new RedisCommitStatus(() => statistics).ongoing([kernelId]);
        await new RedisAbuseReports(() => statistics).replace(new Map([[kernelId, 'detected']]));
        expect(
          await original.ask('statistics', {
            port: stores.redisPort,
            agent_id: 'i-one',
            kernel_id: kernelId,
            container_id: 'none',
          }),
        ).toMatchObject({ commit: ['ongoing'], abuse: 'detected', process_keys: null });
      } finally {
        image.disconnect();
        statistics.disconnect();
      }
    }, 120_000);
  });
});
