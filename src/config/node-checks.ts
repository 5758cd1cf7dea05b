import type { Check, CheckContext } from './check.js';
import { formatHostPort, isLoopback } from './host-port.js';
import type { ConfigProblem } from './problems.js';
import type { KeyPath } from './schema/index.js';

const problem = ({ shared }: CheckContext, path: KeyPath, message: string, hint?: string): ConfigProblem => ({
  ...shared.place(path),
  message,
  ...(hint === undefined ? {} : { hint }),
});

/** A key pair without any manager's key would let nobody in. */
const managerKeys: Check = {
  needs: [
    'agent.rpc-auth-agent-keypair',
    'agent.rpc-auth-manager-public-key',
    'splenium.accepted-manager-keys',
  ],
  *run(context) {
    const { shared } = context;
    if (
      shared.get('agent.rpc-auth-agent-keypair') !== null &&
      shared.get('agent.rpc-auth-manager-public-key') === null &&
      shared.get('splenium.accepted-manager-keys') === null
    )
      yield {
        ...shared.place('agent.rpc-auth-agent-keypair'),
        key: 'agent.rpc-auth-manager-public-key',
        message: 'required with agent.rpc-auth-agent-keypair: the public key file of the manager',
        hint: 'or give splenium.accepted-manager-keys, a directory of such files',
      };
  },
};

/** Without keys anybody who reaches the port commands the node. */
const plaintext: Check = {
  needs: ['agent.rpc-listen-addr', 'agent.rpc-auth-agent-keypair', 'splenium.allow-plaintext-rpc'],
  *run({ shared, file }) {
    const { host } = shared.get('agent.rpc-listen-addr');
    if (shared.get('agent.rpc-auth-agent-keypair') !== null) return;
    if (isLoopback(host) || shared.get('splenium.allow-plaintext-rpc')) return;
    const { origin, position } = shared.place('agent.rpc-listen-addr');
    yield {
      key: 'agent.rpc-auth-agent-keypair',
      message: `absent, so ${host === '' ? 'every address' : host} would be served without authentication`,
      origin: origin === 'default' ? file : origin,
      hint: 'give the key files, listen on 127.0.0.1, or set splenium.allow-plaintext-rpc = true',
      ...(position ? { position } : {}),
    };
  },
};

/** The volumes hold only the Python of the original's runner; the rest is in its package. */
const originalRunner: Check = {
  needs: ['container.krunner-volumes', 'splenium.docker.runner-package', 'splenium.docker.hardening'],
  *run(context) {
    const { shared } = context;
    if (Object.keys(shared.get('container.krunner-volumes') ?? {}).length === 0) return;
    if (shared.get('splenium.docker.runner-package') === null)
      yield problem(
        context,
        'container.krunner-volumes',
        'needs splenium.docker.runner-package: the rest of the original’s runner',
        'name the directory of the package ai.backend.runner, or leave the volumes out for our own runner',
      );
    if (shared.get('splenium.docker.hardening') === 'strict')
      yield problem(
        context,
        'container.krunner-volumes',
        'cannot be with splenium.docker.hardening = "strict": the original’s runner starts as root',
      );
  },
};

const addresses: Check = {
  needs: ['agent.rpc-listen-addr', 'agent.service-addr', 'splenium.http-addr'],
  *run(context) {
    const { shared } = context;
    const rpc = shared.get('agent.rpc-listen-addr');
    const path = shared.get('splenium.http-addr') === null ? 'agent.service-addr' : 'splenium.http-addr';
    const http = shared.get(path);
    if (http?.port !== rpc.port || !shared.isWritten(path)) return;
    if (http.host === rpc.host || isWildcard(http.host) || isWildcard(rpc.host))
      yield problem(
        context,
        path,
        `${formatHostPort(http)} is also agent.rpc-listen-addr: one port cannot serve both`,
      );
  },
};

/** Without both files the port would be served in plain text, which nobody asked for. */
const httpTls: Check = {
  needs: ['agent.ssl-enabled', 'agent.ssl-cert', 'agent.ssl-key'],
  *run(context) {
    if (!context.shared.get('agent.ssl-enabled')) return;
    for (const path of ['agent.ssl-cert', 'agent.ssl-key'] as const)
      if (context.shared.get(path) === null)
        yield problem(context, path, 'required with agent.ssl-enabled: a PEM file');
  },
};

const isWildcard = (host: string): boolean => host === '' || host === '0.0.0.0' || host === '::';

const stores: Check = {
  needs: ['etcd.addr', 'splenium.store', 'splenium.event-bus', 'redis.addr', 'redis.sentinel'],
  *run(context) {
    const { shared } = context;
    const addr = shared.get('etcd.addr');
    const store = shared.get('splenium.store') ?? (addr === null ? 'file' : 'etcd');
    if (store === 'etcd' && (addr === null || addr.length === 0))
      yield problem(context, 'splenium.store', '"etcd" needs etcd.addr');
    if (store === 'file' && shared.get('splenium.event-bus') === 'redis' && !hasRedis(context))
      yield problem(
        context,
        'splenium.event-bus',
        '"redis" needs redis.addr or redis.sentinel, since there is no etcd to ask',
      );
  },
};

const hasRedis = ({ shared }: CheckContext): boolean =>
  shared.get('redis.addr') !== null || (shared.get('redis.sentinel') ?? []).length > 0;

const pluginLists: Check = {
  needs: [
    'agent.allow-compute-plugins',
    'agent.block-compute-plugins',
    'agent.allow-network-plugins',
    'agent.block-network-plugins',
  ],
  *run(context) {
    for (const group of ['compute', 'network'] as const) {
      const allowed = context.shared.get(`agent.allow-${group}-plugins`) ?? [];
      const blocked = context.shared.get(`agent.block-${group}-plugins`) ?? [];
      const both = allowed.filter((name) => blocked.includes(name));
      if (both.length > 0)
        yield problem(
          context,
          `agent.block-${group}-plugins`,
          `allowlist and blocklist has union value '${both.join(', ')}'`,
        );
    }
  },
};

const logDrivers: Check = {
  needs: ['logging.drivers'],
  *run(context) {
    for (const driver of context.shared.get('logging.drivers'))
      if (driver !== 'console' && !context.shared.isWritten(`logging.${driver}`))
        yield problem(context, 'logging.drivers', `${driver} driver is activated but no config given.`);
  },
};

const coredump: Check = {
  needs: ['debug.coredump.enabled'],
  *run(context) {
    if (!context.shared.get('debug.coredump.enabled')) return;
    const { platform, corePattern } = context.host;
    if (platform !== 'linux')
      yield problem(
        context,
        'debug.coredump.enabled',
        'Storing container coredumps is only supported in Linux.',
      );
    else if (corePattern?.startsWith('/') !== true)
      yield problem(
        context,
        'debug.coredump.enabled',
        '/proc/sys/kernel/core_pattern must be an absolute path to enable container coredumps.',
      );
  },
};

const deafKeys: Check = {
  needs: [
    'agent.rpc-auth-agent-keypair',
    'agent.rpc-auth-manager-public-key',
    'splenium.accepted-manager-keys',
  ],
  severity: 'warning',
  *run(context) {
    if (context.shared.get('agent.rpc-auth-agent-keypair') !== null) return;
    for (const path of ['agent.rpc-auth-manager-public-key', 'splenium.accepted-manager-keys'] as const)
      if (context.shared.get(path) !== null)
        yield problem(context, path, 'has no effect without agent.rpc-auth-agent-keypair');
  },
};

const ignoredCredentials: Check = {
  needs: ['etcd.user', 'etcd.password'],
  severity: 'warning',
  *run(context) {
    const user = context.shared.get('etcd.user') ?? '';
    const password = context.shared.get('etcd.password') ?? '';
    if (user === '' && password !== '')
      yield problem(context, 'etcd.password', 'has no effect without etcd.user');
    if (user !== '' && password === '')
      yield problem(context, 'etcd.user', 'has no effect without etcd.password');
  },
};

/** A certificate is nothing without its key, and neither is used without an authority to check etcd by. */
const etcdTls: Check = {
  needs: ['splenium.etcd-tls.ca', 'splenium.etcd-tls.cert', 'splenium.etcd-tls.key'],
  *run(context) {
    const isGiven = (name: 'ca' | 'cert' | 'key') => context.shared.get(`splenium.etcd-tls.${name}`) !== null;
    for (const [one, other] of [
      ['cert', 'key'],
      ['key', 'cert'],
      ['cert', 'ca'],
    ] as const)
      if (isGiven(one) && !isGiven(other))
        yield problem(context, `splenium.etcd-tls.${one}`, `needs splenium.etcd-tls.${other} beside it`);
  },
};

/** Sentinels know masters by name only. */
const sentinelName: Check = {
  needs: ['redis.sentinel', 'redis.service-name', 'redis.override-configs'],
  *run(context) {
    const { shared } = context;
    if ((shared.get('redis.sentinel') ?? []).length > 0 && !shared.get('redis.service-name'))
      yield problem(context, 'redis.sentinel', 'needs redis.service-name, the name of the master');
    for (const [role, server] of Object.entries(shared.get('redis.override-configs')))
      if (server.sentinels.length > 0 && !server.serviceName)
        yield problem(context, 'redis.override-configs', `${role}: sentinel needs service-name`);
  },
};

/** Bounds of one caller that reach those of all let one caller shut the others out. */
const limits: Check = {
  needs: [
    'splenium.limits.max-in-flight-per-peer',
    'splenium.limits.max-in-flight',
    'splenium.limits.max-running',
    'splenium.limits.max-queued-per-peer',
    'splenium.limits.max-queued',
  ],
  severity: 'warning',
  *run(context) {
    for (const [one, all] of [
      ['max-in-flight-per-peer', 'max-in-flight'],
      ['max-in-flight-per-peer', 'max-running'],
      ['max-queued-per-peer', 'max-queued'],
    ] as const)
      if (context.shared.get(`splenium.limits.${one}`) >= context.shared.get(`splenium.limits.${all}`))
        yield problem(context, `splenium.limits.${all}`, `not above ${one}: one caller can take it all`);
  },
};

/** 26.x managers refuse the old name in their own agents; here it still reads. */
const oldScalingGroup: Check = {
  needs: ['splenium.manager-version'],
  severity: 'warning',
  *run({ shared, agents }) {
    if (shared.get('splenium.manager-version') === '25.17') return;
    for (const values of agents) {
      const place = values.place('agent.scaling-group');
      if (/scaling.group$/.test(place.key) && values.isWritten('agent.scaling-group'))
        yield {
          ...place,
          message:
            "The 'scaling-group' agent config key is deprecated. Use 'initial-resource-group-name' instead.",
        };
    }
  },
};

/** Rules about the daemon as a whole. */
export const NODE_CHECKS: readonly Check[] = [
  managerKeys,
  plaintext,
  addresses,
  httpTls,
  originalRunner,
  stores,
  etcdTls,
  sentinelName,
  pluginLists,
  logDrivers,
  coredump,
  deafKeys,
  ignoredCredentials,
  limits,
  oldScalingGroup,
];
