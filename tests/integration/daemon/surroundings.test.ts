import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createCodec } from '../../../src/codec/index.js';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import { TestDaemon } from '../../support/daemon.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { parsePrometheusText } from '../../support/prometheus-text.js';
import { RedisServer } from '../../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const PYTHON = { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' };
const WAIT = { timeoutMs: 60_000 };
const RPC = ['method'];
const LAYER = ['domain', 'layer', 'operation'];
const TASK_END = ['task_name', 'status', 'domain', 'operation', 'error_detail'];
const EVENT = ['event_type', 'status', 'domain', 'operation', 'error_detail'];

/** The names of the original that this program claims, with their labels (spec/events-and-stores.md 8.3). */
const CLAIMED: Readonly<Record<string, readonly string[]>> = {
  backendai_container_utilization: [
    ...['container_metric_name', 'agent_id', 'kernel_id', 'session_id', 'user_id', 'project_id'],
    'value_type',
  ],
  backendai_device_utilization: ['device_metric_name', 'agent_id', 'device_id', 'value_type'],
  backendai_rpc_requests_total: RPC,
  backendai_rpc_failure_requests_total: [...RPC, 'exception'],
  backendai_rpc_request_duration_seconds: RPC,
  backendai_sync_container_lifecycle_trigger_count_total: ['agent_id'],
  backendai_sync_container_lifecycle_success_count_total: ['agent_id'],
  backendai_sync_container_lifecycle_failure_count_total: ['agent_id', 'exception'],
  backendai_stat_task_trigger_count_total: ['agent_id', 'stat_scope'],
  backendai_stat_task_success_count_total: ['agent_id', 'stat_scope'],
  backendai_stat_task_failure_count_total: ['agent_id', 'stat_scope', 'exception'],
  backendai_stat_task_duration_sec: ['agent_id', 'stat_scope'],
  backendai_event_count_total: ['event_type'],
  backendai_event_failure_count_total: ['event_type', 'exception', 'domain', 'operation', 'error_detail'],
  backendai_event_processing_time_sec: EVENT,
  backendai_bgtask_count: ['task_name'],
  backendai_bgtask_done_count_total: TASK_END,
  backendai_bgtask_processing_time_sec: TASK_END,
  backendai_api_request_count_total: [
    ...['method', 'endpoint', 'domain', 'operation', 'error_detail', 'status_code'],
  ],
  backendai_api_request_duration_sec: [
    ...['method', 'endpoint', 'domain', 'operation', 'error_detail', 'status_code'],
  ],
  backendai_stage_count_total: ['stage', 'upper_layer'],
  backendai_layer_operation_triggered_count: LAYER,
  backendai_layer_operation_count_total: [...LAYER, 'success'],
  backendai_layer_operation_duration_sec: [...LAYER, 'success'],
  backendai_layer_operation_error_count_total: [...LAYER, 'error_code'],
  backendai_rpc_requests_created: RPC,
  backendai_rpc_request_duration_seconds_created: RPC,
  backendai_stat_task_success_count_created: ['agent_id', 'stat_scope'],
  backendai_stage_count_created: ['stage', 'upper_layer'],
  backendai_async_task_count: [],
  backendai_cpu_usage_percent: [],
  backendai_memory_used_rss: [],
  backendai_memory_used_vms: [],
};
/** Nothing of this test makes them fail. */
const WITHOUT_SAMPLE =
  /_(?:lifecycle|stat_task|event)_failure_count_total$|^backendai_event_failure|_error_count_total$/;

(available ? describe : describe.skip).each(['25.17', '26.9'])(
  'the surroundings of a node for %s',
  (line) => {
    let etcd: EtcdServer;
    let redis: RedisServer;
    let store: EtcdStore;
    let daemon: TestDaemon;
    let client: AgentClient;
    let kernelId: string;
    let httpUrl: string;
    let reports: string;
    const readers = new Map<number, Redis>();
    const reader = (db: number): Redis => {
      const known = readers.get(db) ?? new Redis({ port: redis.port, db });
      readers.set(db, known);
      return known;
    };

    beforeAll(async () => {
      [etcd, redis] = await Promise.all([EtcdServer.start(), RedisServer.start()]);
      store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
      for (const [key, value] of [
        ['config/redis/addr', `127.0.0.1:${String(redis.port)}`],
        ['nodes/manager/i-manager', 'up'],
      ] as const)
        await store.write([{ type: 'put', key: `/sorna/local/${key}`, value }]);
      const port = await freePort();
      httpUrl = `http://127.0.0.1:${String(port)}`;
      daemon = await TestDaemon.prepare({
        agentIds: ['i-one'],
        spleniumKeys: [`manager-version = "${line}"`, `http-addr = "127.0.0.1:${String(port)}"`],
        toml: [
          `[etcd]\nnamespace = "local"\naddr = "${etcd.endpoint.replace('http://', '')}"`,
          ...['node', 'container', 'process'].map(
            (scope) => `[agent.utilization-metric.${scope}]\ninterval = 1`,
          ),
          '[agent.sync-container-lifecycles]\nenabled = true\ninterval = 1',
        ].join('\n'),
      });
      reports = join(daemon.directory, 'reports');
      await mkdir(reports);
      const toml = await readFile(daemon.configPath, 'utf8');
      await writeFile(
        daemon.configPath,
        toml.replace('[agent]\n', `[agent]\nabuse-report-path = "${reports}"\n`),
      );
      await daemon.resume();
      client = daemon.client('i-one');
      const kernel = await client.createKernel({
        image: 'local/python:3',
        labels: PYTHON,
        resourceSlots: { cpu: '1', mem: '67108864' },
      });
      kernelId = kernel.kernelId;
    }, 180_000);
    afterAll(async () => {
      await client.close();
      await daemon.dispose();
      for (const one of readers.values()) one.disconnect();
      readers.clear();
      await store.close();
      await Promise.all([etcd.stop(), redis.stop()]);
    }, 120_000);

    test('the record for service discovery is there and lives for three minutes', async () => {
      const [key = ''] = await eventually(async () => {
        const keys = await reader(0).keys('service_discovery.agent.*');
        expect(keys).toHaveLength(1);
        return keys;
      }, WAIT);
      const record = await reader(0).hgetall(key);
      expect(JSON.parse(record['display_name'] ?? '')).toBe('agent-i-one');
      expect(await reader(0).ttl(key)).toBeGreaterThan(100);
    });

    test('a volume request is answered', async () => {
      const answers: string[] = [];
      const listener = new Redis({ port: redis.port });
      listener.on('message', (_channel, message) => answers.push(message));
      await listener.subscribe('events_all');
      const scope = `user:${kernelId}`;
      const fields = ['vol', 'backend', scope, null, false, null];
      const codec = createCodec({ dialect: line === '25.17' ? '25.17' : '26.8' });
      const body =
        line === '25.17'
          ? { args: Buffer.from(codec.pack(fields)).toString('base64') }
          : {
              payload: JSON.stringify({
                ...{ dir_name: 'vol', volume_backend_name: 'backend', quota_scope_id: scope },
                ...{ scaling_group: null, edit_fstab: false, fstab_path: null },
              }),
            };
      try {
        await eventually(async () => {
          // Said again until the daemon listens.
          await reader(4).publish(
            'events_all',
            JSON.stringify({ name: 'do_volume_unmount', source: 'test', ...body }),
          );
          const names = answers.map((text) => (JSON.parse(text) as { name: string }).name);
          expect(names).toContain('volume_unmounted');
        }, WAIT);
      } finally {
        listener.disconnect();
      }
    });

    test('containers are counted', async () => {
      await eventually(async () => {
        expect(await reader(0).get('container_count.i-one')).toBe('1');
      }, WAIT);
    });

    test('all metrics that bear a name of the original have its labels', async () => {
      await expect(client.call('interrupt_kernel', { kernel_id: randomUUID() })).rejects.toThrow();
      await fetch(`${httpUrl}/health`);
      await eventually(async () => {
        const exposed = parsePrometheusText(await (await fetch(`${httpUrl}/metrics`)).text());
        for (const [name, labels] of Object.entries(CLAIMED)) {
          const metric = exposed.get(name);
          expect([name, metric !== undefined]).toEqual([name, true]);
          if (metric && metric.labels.size > 0)
            expect([name, ...[...metric.labels].sort()]).toEqual([name, ...[...labels].sort()]);
          else if (!WITHOUT_SAMPLE.test(name) && !name.includes('bgtask'))
            expect([name, labels]).toEqual([name, []]);
        }
      }, WAIT);
    });

    test('the clients of Redis are counted as layers, each under the name of the original', async () => {
      await eventually(async () => {
        const text = await (await fetch(`${httpUrl}/metrics`)).text();
        const layers = text.matchAll(/^backendai_layer_operation_count_total\{(.*)\} \d+$/gm);
        const found = new Set([...layers].map(([, labels = '']) => /layer="(\w+)"/.exec(labels)?.[1]));
        expect([...found]).toEqual(expect.arrayContaining(['valkey_stat', 'valkey_stream']));
        expect(text).toMatch(
          /^backendai_layer_operation_count_total\{domain="valkey",layer="valkey_stat",operation="set",success="True"\} \d+$/m,
        );
      }, WAIT);
    });

    test('the doctor sees the stores, and since when they answer', async () => {
      const checks = await client.call('examine', {});
      const stores = checks.filter(({ check }) => check.endsWith(': it answers'));
      expect(stores.map(({ check }) => check)).toEqual(
        expect.arrayContaining(['etcd: it answers', 'redis stream: it answers', 'redis stat: it answers']),
      );
      for (const { ok, since } of stores) {
        expect(ok).toBe(true);
        expect(since).toMatch(/^\d{4}-\d\d-\d\dT/);
      }
    });

    test('abuse reports are told', async () => {
      await writeFile(
        join(reports, `report.${kernelId}.json`),
        JSON.stringify({ ID: kernelId, reason: 'x' }),
      );
      await eventually(async () => {
        expect(await reader(0).hgetall('abuse_report')).toEqual({ [kernelId]: 'detected' });
      }, WAIT);
    }, 90_000);

    if (line === '26.9')
      test('a running kernel is present', async () => {
        await eventually(
          async () => {
            const presence = await reader(2).hgetall(`kernel:presence:${kernelId}`);
            expect(presence['presence']).toBe('1');
          },
          { timeoutMs: 90_000 },
        );
      }, 120_000);

    /** Component -> whether it is healthy, as one of the paths says it. */
    const componentsOf = async (path: string) => {
      const answer = await fetch(`${httpUrl}${path}`);
      const body = (await answer.json()) as {
        readonly status: string;
        readonly connectivity: {
          readonly overall_healthy: boolean;
          readonly connectivity_checks: readonly {
            readonly service_group: string;
            readonly component_id: string;
            readonly is_healthy: boolean;
            readonly error_message: string | null;
          }[];
        };
      };
      const { overall_healthy, connectivity_checks } = body.connectivity;
      for (const { is_healthy, error_message } of connectivity_checks)
        expect(is_healthy).toBe(error_message === null);
      return {
        http: answer.status,
        status: body.status,
        overall_healthy,
        healthy: Object.fromEntries(
          connectivity_checks.map((one) => [`${one.service_group} ${one.component_id}`, one.is_healthy]),
        ),
      };
    };
    const REDIS_COMPONENTS = ['stat', 'stream', 'bgtask', 'container_log'];
    const redisIs = (healthy: boolean) =>
      Object.fromEntries(REDIS_COMPONENTS.map((component) => [`redis ${component}`, healthy]));

    test('the health names each component of the original, also while a store is away', async () => {
      await eventually(async () => {
        expect(await componentsOf('/readyz')).toMatchObject({
          ...{ http: 200, status: 'ok', overall_healthy: true },
          healthy: { 'etcd etcd': true, ...redisIs(true) },
        });
      }, WAIT);
      redis.freeze();
      await eventually(async () => {
        const ill = { overall_healthy: false, healthy: { 'etcd etcd': true, ...redisIs(false) } };
        expect(await componentsOf('/health')).toMatchObject({ http: 200, status: 'degraded', ...ill });
        expect(await componentsOf('/livez')).toMatchObject({ http: 503, status: 'error', ...ill });
        expect(await componentsOf('/readyz')).toMatchObject({ http: 503, status: 'error', ...ill });
      }, WAIT);
      expect(await client.ping('here')).toBe('here');
      redis.thaw();
      await eventually(async () => {
        expect(await componentsOf('/readyz')).toMatchObject({ http: 200, healthy: redisIs(true) });
      }, WAIT);
    }, 180_000);

    test('at a clean stop the record goes', async () => {
      expect(await daemon.stop()).toBe(0);
      expect(await reader(0).keys('service_discovery.agent.*')).toEqual([]);
    }, 60_000);
  },
);
