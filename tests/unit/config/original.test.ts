import { readFile } from 'node:fs/promises';
import type { DaemonConfig } from '../../../src/config/index.js';
import { load } from './config-file.js';

const original = await readFile(new URL('./original-agent.toml', import.meta.url), 'utf8');

describe('an agent.toml of the original with every section', () => {
  let config: DaemonConfig;
  let warnings: readonly unknown[];
  beforeAll(async () => {
    const text = original.replace('host = "", port = 6001', 'host = "127.0.0.1", port = 6001');
    ({ config, warnings } = await load(text, { cwd: '/srv', home: '/home/work' }));
  });

  test('it loads without a warning', () => {
    expect(warnings).toEqual([]);
  });

  test('the daemon', () => {
    expect(config).toMatchObject({
      backend: 'docker',
      managerVersion: '25.17',
      rpc: {
        listen: { host: '127.0.0.1', port: 6001 },
        advertised: { host: '10.0.0.5', port: 6001 },
        agentKeypairFile: null,
      },
      http: { listen: { host: '0.0.0.0', port: 6003 } },
      store: 'etcd',
      eventBus: 'redis',
      etcd: {
        namespace: 'local',
        addrs: [{ host: '127.0.0.1', port: 2379 }],
        credentials: { user: 'backend', password: 'etcd-password' },
      },
      debugEnabled: false,
      debug: {
        kernelRunner: true,
        logStats: true,
        logEvents: false,
        coredump: {
          path: '/srv/coredumps',
          backupCount: 10,
          sizeLimitBytes: 67_108_864,
          containerDir: '/var/crash',
        },
      },
      logLevel: 'INFO',
      logging: {
        drivers: ['console', 'file'],
        packageLevels: { '': 'WARNING', aiodocker: 'INFO', 'ai.backend': 'INFO' },
        file: { path: '/srv/logs', filename: 'agent.log', backupCount: 5, rotationSizeBytes: 10_000_000 },
      },
      pidFile: '/srv/agent.pid',
      abuseReportPath: '/srv/abuse',
      volumes: { mountPath: '/srv/vfroot/local', mountOwner: '1000:1000', cohabitingStorageProxy: true },
      region: 'local',
      publicHost: 'node.example.org',
      skipManagerDetection: true,
      watcherPort: 6009,
      metadataServer: { bindHost: '0.0.0.0', port: 40_128 },
      computePlugins: {
        allow: ['ai.backend.accelerator.cuda_open'],
        block: ['ai.backend.accelerator.mock'],
      },
      networkPlugins: { allow: [], block: null },
      plugins: { cuda: { device_mask: '0,1' } },
      reserved: { cpu: 2, memBytes: 2_147_483_648, diskBytes: 8_589_934_592 },
      allocationMode: 'shared',
      allocationOrder: ['cuda', 'rocm', 'tpu', 'cpu', 'mem'],
      affinityPolicy: 'PREFER_SINGLE_NODE',
      memoryAlignBytes: 16_777_216,
      containerLogs: { maxLengthBytes: 10_485_760, chunkBytes: 65_536, driver: 'local' },
      api: { pullTimeoutMs: 3_600_000, commitTimeoutMs: null, pushTimeoutMs: null },
      heartbeatIntervalMs: 10_000,
    });
  });

  test('its one agent', () => {
    expect(config.agents).toEqual([
      {
        id: 'i-original',
        scalingGroup: 'default',
        scalingGroupType: 'compute',
        agentSockPort: 6007,
        forceTerminateAbusingContainers: true,
        portRange: { first: 30_000, last: 31_000 },
        portReuseCooldownMs: 60_000,
        bindHost: '10.0.0.5',
        advertisedHost: 'node.example.org',
        scratchRoot: '/srv/scratches',
        scratchType: 'hostdir',
        scratchSizeBytes: 1_073_741_824,
        scratchNfs: null,
        statsType: 'docker',
        sandboxType: 'docker',
        jailArgs: [],
        alternativeBridge: 'bridge',
        krunnerVolumes: null,
        kernelUid: null,
        kernelGid: 5678,
        kernelCreationConcurrency: 8,
        kernelLifecycles: {
          initPollingAttempts: 10,
          initPollingTimeoutMs: 30_000,
          initTimeoutMs: 60_000,
        },
        syncContainerLifecycles: { enabled: true, intervalMs: 12_500 },
        utilizationMetric: {
          node: { enabled: true, intervalMs: 5000 },
          container: { enabled: true, intervalMs: 5000 },
          process: { enabled: true, intervalMs: 5000 },
        },
        allocations: null,
      },
    ]);
  });

  test('as it is, it is refused only because it would serve everybody without keys', async () => {
    await expect(load(original)).rejects.toMatchObject({
      problems: [expect.objectContaining({ key: 'agent.rpc-auth-agent-keypair' })],
    });
  });
});

test('the names of 26.8 mean the same', async () => {
  const { config, warnings } = await load(`[agent]
backend = "dummy"
rpc-listen-addr = "127.0.0.1:6001"
internal-addr = "127.0.0.1:7003"
announce-internal-addr = "node:7003"
aiomonitor-termui-port = 38201
initial-resource-group-name = "gpu"
[agent.utilization-metric.node]
interval = 7.5
[container]
port-reuse-cooldown-sec = 0
[container-logs]
driver = "json-file"
[otel]
max-queue-size = 10
[service-discovery]
service-group = "agent"
[[service-discovery.endpoints]]
role = "rpc"
scope = "cluster"
address = "10.0.0.5"
port = 6001
protocol = "zmq"
[splenium]
manager-version = "26.9"
`);
  expect(warnings).toEqual([]);
  expect(config).toMatchObject({
    managerVersion: '26.9',
    http: { listen: { host: '127.0.0.1', port: 7003 }, announced: { host: 'node', port: 7003 } },
    containerLogs: { driver: 'json-file' },
  });
  expect(config.agents[0]).toMatchObject({
    scalingGroup: 'gpu',
    portReuseCooldownMs: 0,
    utilizationMetric: { node: { intervalMs: 7500 }, container: { intervalMs: 30_000 } },
  });
});

test('of two spellings the one listed first wins, whatever their order in the file', async () => {
  const { config, warnings } = await load(`[agent]
mode = "docker"
internal-addr = "127.0.0.1:7003"
service-addr = "127.0.0.1:7004"
backend = "dummy"
rpc-listen-addr = "127.0.0.1:6001"
`);
  expect(config.backend).toBe('dummy');
  expect(config.http.listen?.port).toBe(7004);
  expect(warnings).toMatchObject([
    { key: 'agent.mode', message: 'ignored, because "backend" is given too' },
    { key: 'agent.internal-addr', message: 'ignored, because "service-addr" is given too' },
  ]);
});

test('the old name of the resource group warns beside a 26.9 manager', async () => {
  const { config, warnings } = await load(
    '[agent]\nbackend = "dummy"\nrpc-listen-addr = "127.0.0.1:1"\nscaling-group = "x"\n[splenium]\nmanager-version = "26.9"\n',
  );
  expect(config.agents[0]?.scalingGroup).toBe('x');
  expect(warnings).toMatchObject([{ key: 'agent.scaling-group', position: { line: 4 } }]);
});
