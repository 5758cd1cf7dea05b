import type { HostFacts } from '../../../src/config/index.js';
import { MINIMAL, load, problemsOf } from './config-file.js';

/** `table` and lines -> a file; keys of `[agent]` go to the table that is there already. */
const fileOf = (table: string, lines: string): string =>
  table === 'agent' ? `${MINIMAL}${lines}\n` : `${MINIMAL}[${table}]\n${lines}\n`;

const TWELVE = 'a'.repeat(12);

describe('values that may stand', () => {
  test.each([
    ['agent', 'agent-sock-port = "6010"'],
    ['agent', 'allow-compute-plugins = ["a", "a"]'],
    ['agent', 'skip-manager-detection = "yes"'],
    ['agent', 'pid-file = "/dev/null"'],
    ['agent', `region = "${TWELVE}"`],
    ['agent.sync-container-lifecycles', 'interval = 0'],
    ['container', 'stats-type = "cgroup"'],
    ['container', 'scratch-type = "hostfile"\nscratch-size = "4G"'],
    ['container', 'sandbox-type = "docker"\njail-args = [" -v "]'],
    ['container', 'kernel-uid = "work"\nkernel-gid = "work"'],
    ['splenium.docker', 'runner-package = "/usr"\n[container]\nkrunner-volumes = { "ubuntu20.04" = "v1" }'],
    ['resource', 'affinity-policy = 0'],
    ['resource', 'allocation-order = []'],
    ['etcd', 'addr = ["a:2379", "b:2379"]'],
    ['etcd', 'addr = "a:2379"'],
    ['container-logs', 'max-length = 1024'],
    ['api', 'pull-timeout = 0\ncommit-timeout = "1.5"'],
    ['kernel-lifecycles', 'init-polling-attempt = 1'],
    ['debug', 'log-events = 1'],
    ['debug.coredump', 'enabled = true'],
    ['logging', 'level = "trace"\npkg-ns = { tests = "debug" }'],
    ['logging.console', 'format = "simple"'],
    ['logging.file', 'path = "logs"\nfilename = "a.log"'],
    ['redis', 'addr = "127.0.0.1:6379"\nuse_tls = true\nredis_helper_config = { socket_timeout = 1 }'],
    ['redis', 'sentinel = "a:1,b:2"\nservice_name = "m"'],
    ['redis', 'override_configs = { stat = { addr = "a:1", password = "x" } }'],
    ['service-discovery', 'type = "etcd"\nextra-labels = { a = "b" }'],
    ['watcher', 'soft-reset-available = true'],
    ['otel', 'endpoint = "http://x"'],
    ['pyroscope', 'sample-rate = 5'],
    ['plugins.cuda', 'a = [1, { b = 2 }]'],
    ['docker', 'anything = { at = "all" }'],
    ['kubernetes', 'anything = 1'],
    ['splenium', 'http-addr = "127.0.0.1:6010"\nlog-format = "json"'],
    ['splenium', 'deadlines = { default-sec = 60, create_kernels = 0.5 }'],
    ['splenium.devices.mock', 'count = 2'],
    ['splenium.outbox', 'max-events = 10\nmax-bytes = "1M"\nmax-age-sec = 60'],
    ['splenium.kept-logs', 'max-logs = 10\nmax-bytes = "1M"\nmax-age-sec = 60'],
  ])('[%s] %s', async (table, lines) => {
    expect(await load(fileOf(table, lines))).toMatchObject({ warnings: [] });
  });
});

describe('values that may not stand', () => {
  test.each<[string, string, string, Partial<HostFacts>?]>([
    ['agent', 'agent-sock-port = 80', '4:19 agent.agent-sock-port: expected an integer from 1024 to 65535'],
    ['agent', 'aiomonitor-port = 0', '4:19 agent.aiomonitor-port: expected an integer from 1 to 65535'],
    ['agent', 'kernel-creation-concurrency = 0', 'expected an integer from 1 to 32, but given 0'],
    ['agent', 'scaling-group-type = "COMPUTE"', 'expected one of "compute", "storage"'],
    ['agent', 'event-loop = "libuv"', 'expected one of "asyncio", "uvloop"'],
    ['agent', 'ssl-cert = ""', 'agent.ssl-cert: expected a string, not empty'],
    ['agent', 'allow-compute-plugins = ["a", 1]', '4:31 agent.allow-compute-plugins: 1: expected a string'],
    [
      'agent',
      'allow-compute-plugins = ["a"]\nblock-compute-plugins = ["b", "a"]',
      "allowlist and blocklist has union value 'a'",
    ],
    [
      'agent',
      'rpc-auth-agent-keypair = "none"\nrpc-auth-manager-public-key = "agent.toml"',
      'no such file: none',
    ],
    ['agent', 'sync-container-lifecycles = true', 'agent.sync-container-lifecycles: expected a table'],
    ['agent.sync-container-lifecycles', 'interval = -1', 'expected a number, zero or more'],
    ['agent.utilization-metric.node', 'interval = 0', 'expected a number above zero'],
    ['container', 'stats-type = "cgroup"', 'unless the agent runs as root', { uid: 1000 }],
    ['container', 'scratch-type = "hostfile"', 'unless the agent runs as root', { uid: 1000 }],
    ['container', 'sandbox-type = "jail"', 'the jail sandbox is not supported by this agent'],
    ['container', 'scratch-size = 1.5', 'Fractional bytes are not allowed'],
    ['container', 'scratch-size = "inf"', 'infinite values are not allowed'],
    ['container', 'kernel-uid = "nobody-here"', 'no such user nobody-here in system'],
    ['container', 'kernel-gid = "nobody-here"', 'no such group nobody-here in system'],
    ['container', 'kernel-uid = [1]', 'value must be either int or str'],
    ['container', 'port-range = [30000]', 'port_range must be a tuple of two integers'],
    ['container', 'port-reuse-cooldown-sec = -1', 'expected an integer, 0 or more'],
    ['resource', 'affinity-policy = "prefer-single-node"', 'Invalid affinity policy: prefer-single-node'],
    ['resource', 'allocation-mode = "SHARED"', 'expected one of "shared", "auto-split", "manual"'],
    ['resource', 'allocation-mode = "manual"', 'On MANUAL mode, config must specify cpu and mem'],
    ['resource.allocations', 'cpu = 1\nmem = 1', 'On non-MANUAL mode, config must not specify'],
    [
      'resource',
      'allocation-mode = "manual"\nallocations = { cpu = -1, mem = 1 }',
      '6:23 resource.allocations.cpu: Allocated cpu must not be a negative value, but given -1',
    ],
    [
      'resource',
      'allocation-mode = "manual"\nallocations = { mem = 1 }',
      '6:15 resource.allocations.cpu: required, but absent',
    ],
    ['etcd', 'addr = ["127.0.0.1", 2379]', '5:9 etcd.addr: value as string must contain both'],
    ['container-logs', 'driver = "syslog"', 'expected one of "local", "json-file"'],
    ['api', 'push-timeout = -1', 'expected a number, zero or more'],
    ['kernel-lifecycles', 'init-polling-attempt = 0', 'expected an integer, 1 or more'],
    ['debug', 'heartbeat-interval = 0', 'expected a number above zero'],
    ['debug.coredump', 'enabled = true', 'only supported in Linux', { platform: 'darwin' }],
    ['debug.coredump', 'enabled = true', 'must be an absolute path', { corePattern: '|/usr/bin/apport' }],
    ['debug.coredump', 'enabled = true', 'must be an absolute path', { corePattern: 'core' }],
    ['debug.coredump', 'backup-count = 0', 'expected an integer, 1 or more'],
    ['logging', 'level = "warn"', 'logging.level: expected one of "CRITICAL"'],
    ['logging', 'drivers = ["syslog"]', '5:12 logging.drivers: 0: expected one of "console"'],
    ['logging', 'drivers = ["file"]', 'file driver is activated but no config given.'],
    ['logging', 'pkg-ns = { a = "x" }', '5:16 logging.pkg-ns: a: expected one of'],
    ['logging.file', 'path = "logs"', '4:1 logging.file.filename: required, but absent'],
    ['logging.logstash', 'endpoint = "a:1"\nprotocol = "http"', 'expected one of "zmq.push"'],
    ['redis', 'addr = "x"', 'redis.addr: value as string must contain both'],
    [
      'redis',
      'override-configs = { stat = { addr = "x" } }',
      'redis.override-configs: stat: addr: value as string',
    ],
    ['service-discovery', 'type = "consul"', 'expected one of "redis", "etcd"'],
    ['service-discovery', 'endpoints = [{ role = "rpc" }]', 'required, but absent: scope, address'],
    ['watcher', 'service-addr = "x"', 'watcher.service-addr'],
    ['otel', 'max-queue-size = 0', 'expected an integer, 1 or more'],
    ['splenium', 'store = "etcd"', 'splenium.store: "etcd" needs etcd.addr'],
    ['splenium', 'event-bus = "redis"', 'splenium.event-bus: "redis" needs redis.addr'],
    ['splenium', 'manager-version = "25.6"', 'expected one of "25.17", "26.9"'],
    ['splenium', 'http-addr = "127.0.0.1:6001"', 'is also agent.rpc-listen-addr'],
    [
      'agent',
      'service-addr = "0.0.0.0:6001"',
      'agent.service-addr: 0.0.0.0:6001 is also agent.rpc-listen-addr',
    ],
    ['splenium', 'deadlines = { ping = -1 }', '5:22 splenium.deadlines: ping: expected a number above zero'],
    ['splenium', 'devices = { mock = 1 }', 'splenium.devices: mock: expected a table'],
    ['splenium.limits', 'max-message-bytes = "1b "', 'splenium.limits.max-message-bytes'],
    ['splenium.limits', 'max-in-flight = 0', 'expected an integer, 1 or more'],
    ['splenium.outbox', 'max-age-sec = 0', 'expected a number above zero'],
    ['splenium.kept-logs', 'max-logs = 0', 'expected an integer, 1 or more'],
  ])('[%s] %s', async (table, lines, message, host = {}) => {
    const problems = await problemsOf(fileOf(table, lines), { host });
    expect(problems).toEqual([expect.stringContaining(message)]);
  });

  test.each(['169.254.1.1:6001', '[fe80::1]:6001', '[febf::1]:6001'])('%s is link-local', async (address) => {
    expect(await problemsOf(`[agent]\nbackend = "dummy"\nrpc-listen-addr = "${address}"\n`)).toEqual([
      expect.stringContaining('Cannot use link-local IP address as the RPC listening host.'),
    ]);
  });
  test.each(['0.0.0.0', '[::]', '[::1]', 'node.example.org', ''])('%s may be listened on', async (host) => {
    const text = `[agent]\nbackend = "dummy"\nrpc-listen-addr = "${host}:6001"\n[splenium]\nallow-plaintext-rpc = true\n`;
    expect(await problemsOf(text)).toEqual([]);
  });
  test('k8s-nfs without its server, only beside Kubernetes', async () => {
    const text = `${MINIMAL}[container]\nscratch-type = "k8s-nfs"\n`;
    expect(await problemsOf(text)).toEqual([]);
    expect(await problemsOf(text.replace('"process"', '"kubernetes"'))).toEqual([
      '5:16 container.scratch-type: scratch-nfs-address and scratch-nfs-options are required for k8s-nfs',
    ]);
  });
  test('parse errors and rules across keys are reported together, in the order of the file', async () => {
    const problems = await problemsOf(`[agent]
backend = "process"
rpc-listen-addr = "127.0.0.1:6001"
id = "../x"
[container]
port-range = [1]
[resource]
allocation-mode = "manual"
[logging]
drivers = ["file"]
level = "loud"
`);
    expect(problems.map((line) => line.split(': ')[0])).toEqual([
      '4:6 agent.id',
      '6:14 container.port-range',
      '8:19 resource.allocation-mode',
      '10:11 logging.drivers',
      '11:9 logging.level',
    ]);
  });
  test('a problem carries key, origin, position and what is expected', async () => {
    await expect(load(`${MINIMAL}[api]\npull-timeout = "soon"\n`)).rejects.toMatchObject({
      problems: [
        {
          key: 'api.pull-timeout',
          origin: expect.stringMatching(/agent\.toml$/) as string,
          position: { line: 5, column: 16 },
          expected: 'a number, zero or more',
          message: 'expected a number, but given "soon"',
        },
      ],
    });
  });
});

describe('unknown names', () => {
  test.each([
    ['[contaner]', 'contaner', 'unknown section', 'did you mean "container"?'],
    ['[debug]\nlog-event = true', 'debug.log-event', 'unknown key', 'did you mean "log-events"?'],
    ['[debug.coredump]\nbackups = 1', 'debug.coredump.backups', 'unknown key', undefined],
    [
      '[splenium.limits]\nmax_inflight = 1',
      'splenium.limits.max_inflight',
      'unknown key',
      'did you mean "max-in-flight"?',
    ],
  ])('%s', async (lines, key, message, hint) => {
    const { warnings } = await load(`${MINIMAL}${lines}\n`);
    expect(warnings).toEqual([expect.objectContaining({ key, message, ...(hint ? { hint } : {}) })]);
  });
});

describe('warnings about values without effect', () => {
  test.each([
    ['[etcd]\npassword = "x"', 'etcd.password'],
    ['[splenium]\naccepted-manager-keys = "keys"', 'splenium.accepted-manager-keys'],
    ['[splenium.limits]\nmax-running = 5', 'splenium.limits.max-running'],
    ['[container]\nport-range = [6000, 6100]', 'agent.rpc-listen-addr'],
  ])('%s', async (lines, key) => {
    const { warnings } = await load(`${MINIMAL}${lines}\n`);
    expect(warnings.map((warning) => warning.key)).toContain(key);
  });
});
