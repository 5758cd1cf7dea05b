import { deferred } from '../../../src/core/async.js';
import { Questions } from '../../../src/core/questions.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';
import { DiskUsage } from '../../../src/stats/disk-usage.js';
import {
  KernelStatistics,
  type MeasuredKernel,
  ProcessStatistics,
} from '../../../src/stats/kernel-statistics.js';
import { KernelReader } from '../../../src/stats/kernel-reader.js';
import { KernelUsageReader } from '../../../src/stats/kernel-usage.js';
import { NodeReader } from '../../../src/stats/node-reader.js';
import { NodeStatistics } from '../../../src/stats/node-statistics.js';
import { Rounds } from '../../../src/stats/rounds.js';
import type { NodeRecord, StatisticsRecord, StatisticsSink } from '../../../src/stats/sink.js';
import { slotMetadata } from '../../../src/stats/slot-metadata.js';
import { UtilizationGauges } from '../../../src/stats/utilization-gauges.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const KERNEL = parseKernelId('11111111-2222-3333-4444-555555555555');
const kernel: MeasuredKernel = {
  kernelId: KERNEL,
  sessionId: parseSessionId('99999999-2222-3333-4444-555555555555'),
  containerId: asContainerId('process-1'),
  ownerUserId: 'u-1',
  ownerProjectId: null,
  memoryBytes: '2048000',
};

class RecordedSink implements StatisticsSink {
  readonly nodes: NodeRecord[] = [];
  readonly kernelRecords: StatisticsRecord[] = [];
  readonly processRecords: ReadonlyMap<number, StatisticsRecord>[] = [];
  node(_: string, record: NodeRecord) {
    this.nodes.push(record);
    return Promise.resolve();
  }
  kernels(records: ReadonlyMap<string, StatisticsRecord>) {
    this.kernelRecords.push(...records.values());
    return Promise.resolve();
  }
  processes(records: ReadonlyMap<string, ReadonlyMap<number, StatisticsRecord>>) {
    this.processRecords.push(...records.values());
    return Promise.resolve();
  }
}

test('a round of kernels: published, shown as gauges, and forgotten some time after the end', async () => {
  const clock = new ManualClock(0);
  const metrics = new PrometheusMetrics();
  const sink = new RecordedSink();
  let running = [kernel];
  let ticks = 100;
  const reader = new KernelUsageReader({
    readText: (path) =>
      path === '/proc/10/stat'
        ? Promise.resolve(`10 (x) S 1 1 1 0 0 0 0 0 0 0 ${String(ticks)} 0 0 0 20`)
        : path === '/proc/10/status'
          ? Promise.resolve('VmRSS:\t1000 kB\n')
          : Promise.reject(new Error('ENOENT')),
    questions: new Questions({ timeoutMs: 20_000 }),
  });
  const pass = new KernelReader({
    sources: () => Promise.resolve(new Map(running.map(() => [KERNEL, { pids: [10], cgroups: [] }]))),
    usage: reader,
    sourcesTimeoutMs: 20_000,
    clock,
  });
  const common = { running: () => running, read: () => pass.read() };
  const gauges = new UtilizationGauges(AGENT, metrics);
  const statistics = new KernelStatistics({ ...common, gauges, sink });
  const processes = new ProcessStatistics({ ...common, sink });
  await statistics.collect();
  await processes.collect();
  clock.advance(5000);
  ticks = 600;
  await statistics.collect();
  await processes.collect();

  expect(sink.kernelRecords[1]).toEqual({
    cpu_util: {
      current: '1000',
      capacity: '1000',
      pct: '100',
      unit_hint: 'percent',
      'stats.avg': '3500',
      'stats.max': '6000',
    },
    cpu_used: { current: '6000', capacity: '1000', pct: '600', unit_hint: 'msec' },
    mem: { current: '1024000', capacity: '2048000', pct: '50', unit_hint: 'bytes', 'stats.max': '1024000' },
    io_read: { current: '0', capacity: '0', pct: '0.00', unit_hint: 'bytes', 'stats.rate': '0' },
    io_write: { current: '0', capacity: '0', pct: '0.00', unit_hint: 'bytes', 'stats.rate': '0' },
    net_rx: { current: '0', capacity: '0', pct: '0.00', unit_hint: 'bps' },
    net_tx: { current: '0', capacity: '0', pct: '0.00', unit_hint: 'bps' },
    io_scratch_size: { current: '0', capacity: '0', pct: '0.00', unit_hint: 'bytes', 'stats.max': '0' },
  });
  expect(sink.processRecords[1]?.get(10)).toMatchObject({
    cpu_util: { current: '1000', capacity: '1000', pct: '100', unit_hint: 'percent' },
    mem: { current: '1024000', 'stats.max': '1024000' },
  });
  const series = `backendai_container_utilization{container_metric_name="cpu_util",agent_id="i-one",kernel_id="${KERNEL}",session_id="${kernel.sessionId}",user_id="u-1",project_id="undefined",value_type="current"}`;
  expect(await metrics.text()).toContain(`${series} 6000`);

  running = [];
  clock.advance(599_000);
  await statistics.collect();
  expect(await metrics.text()).toContain(series);
  clock.advance(1000);
  await statistics.collect();
  expect(await metrics.text()).not.toContain(KERNEL);
  expect(sink.kernelRecords).toHaveLength(2);
});

test('a round of the node: this agent’s part of it', async () => {
  const clock = new ManualClock(0);
  const metrics = new PrometheusMetrics();
  const sink = new RecordedSink();
  let cpuTicks = 100;
  let received = 1000;
  const files = (path: string): string | undefined =>
    ({
      '/proc/stat': `cpu0 ${String(cpuTicks)} 0 100 0\ncpu1 0 0 0 0\n`,
      '/proc/net/dev': `eth0: ${String(received)} 0 0 0 0 0 0 0 7 0\n`,
      '/proc/mounts': '/dev/sda1 / ext4 rw 0 0\n',
      '/proc/filesystems': '\text4\n',
    })[path];
  const readText = (path: string) => {
    const text = files(path);
    return text === undefined ? Promise.reject(new Error('ENOENT')) : Promise.resolve(text);
  };
  const pass = new NodeReader({
    readText,
    disks: new DiskUsage({
      readText,
      statfs: () => Promise.resolve({ bsize: 10n, blocks: 100n, bavail: 75n }),
      questions: new Questions({ timeoutMs: 20_000 }),
    }),
    devices: () => Promise.resolve([]),
    clock,
  });
  const node = new NodeStatistics({
    agentId: AGENT,
    read: () => pass.read(),
    measuresOf: () => [
      {
        key: 'mem',
        unit: 'bytes',
        value: '300',
        capacity: '400',
        perDevice: { root: { value: '300', capacity: '400' } },
      },
      { key: 'heat', unit: 'celsius', value: '40.5', capacity: null, perDevice: {} },
    ],
    scalingFactor: (slot) => (slot === 'cpu' ? '0.5' : '1'),
    gauges: new UtilizationGauges(AGENT, metrics),
    sink,
  });
  await node.collect();
  clock.advance(2000);
  cpuTicks = 200;
  received = 5000;
  await node.collect();
  expect(sink.nodes[0]?.node['cpu_util']).toEqual({
    current: '0',
    capacity: '0',
    pct: '0.00',
    unit_hint: 'msec',
  });
  expect(sink.nodes[1]).toEqual({
    node: {
      cpu_util: { current: '500', capacity: '1000', pct: '50', unit_hint: 'msec' },
      mem: { current: '300', capacity: '400', pct: '75', unit_hint: 'bytes', 'stats.max': '300' },
      heat: { current: '40.5', capacity: null, pct: '0.00', unit_hint: 'count', 'stats.max': '40.5' },
      disk: { current: '250', capacity: '1000', pct: '25', unit_hint: 'bytes' },
      net_rx: { current: '2000', capacity: null, pct: '0.00', unit_hint: 'bps' },
      net_tx: { current: '0', capacity: null, pct: '0.00', unit_hint: 'bps' },
    },
    devices: {
      cpu_util: {
        '0': { current: '500', capacity: '1000', pct: '50', unit_hint: 'msec' },
        '1': { current: '0', capacity: '1000', pct: '0', unit_hint: 'msec' },
      },
      mem: { root: { current: '300', capacity: '400', pct: '75', unit_hint: 'bytes', 'stats.max': '300' } },
      heat: {},
      disk: { '/dev/sda1': { current: '250', capacity: '1000', pct: '25', unit_hint: 'bytes' } },
      net_rx: { node: { current: '2000', capacity: null, pct: '0.00', unit_hint: 'bps' } },
      net_tx: { node: { current: '0', capacity: null, pct: '0.00', unit_hint: 'bps' } },
    },
  });
  const text = await metrics.text();
  expect(text).toContain(
    'backendai_device_utilization{device_metric_name="net_rx",agent_id="i-one",device_id="node",value_type="current"} 5000',
  );
  expect(text).toContain(
    'backendai_device_utilization{device_metric_name="mem",agent_id="i-one",device_id="root",value_type="capacity"} 400',
  );
});

test('rounds never overlap, tell of a failure once, and stop after the one that runs', async () => {
  const clock = new ManualClock(0);
  const log = new RecordedLog();
  const outcomes: (string | null)[] = [];
  let gate = deferred<void>();
  let begun = 0;
  const rounds = new Rounds({
    name: 'a round',
    intervalMs: 1000,
    round: () => {
      begun += 1;
      return gate.promise;
    },
    onRound: ({ error }) => outcomes.push(error),
    clock,
    logger: log,
  });
  const next = async (count: number, settle: () => void) => {
    await eventually(() => {
      // Time goes on while a round runs, which does not begin another.
      clock.advance(1000);
      expect(begun).toBe(count);
    });
    clock.advance(10_000);
    expect(begun).toBe(count);
    const current = gate;
    settle();
    await current.promise.catch(() => undefined);
    await eventually(() => {
      expect(outcomes).toHaveLength(count);
    });
  };
  const replaceGate = (settle: (old: typeof gate) => void) => () => {
    const old = gate;
    gate = deferred<void>();
    settle(old);
  };
  const fail = replaceGate((old) => {
    old.reject(new TypeError('away'));
  });
  const succeed = replaceGate((old) => {
    old.resolve();
  });
  await next(1, fail);
  await next(2, fail);
  await next(3, succeed);
  expect(outcomes).toEqual(['TypeError', 'TypeError', null]);
  expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info']);
  await rounds.stop();
  await rounds.stop();
  clock.advance(10_000);
  expect(begun).toBe(3);
});

test('descriptions of slots in the manager’s words', () => {
  const metadata = slotMetadata([...new CpuPlugin().slots(), ...new MemoryPlugin().slots()]);
  expect([...metadata.keys()]).toEqual(['cpu', 'ram']);
  expect(JSON.parse(metadata.get('ram') ?? '')).toEqual({
    slot_name: 'ram',
    description: expect.any(String),
    human_readable_name: expect.any(String),
    display_unit: expect.any(String),
    number_format: { binary: expect.any(Boolean), round_length: expect.any(Number) },
    display_icon: expect.any(String),
  });
});
