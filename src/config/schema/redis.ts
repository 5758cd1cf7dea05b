import { inPart, integerFrom, isTable, parseBoolean, parseNonNegative, parseText } from '../formats.js';
import { type HostPort, parseHostPort, parseSentinels } from '../host-port.js';
import { type Parser, expecting, optional } from '../parser.js';
import { key, table } from './definition.js';

export interface RedisHelper {
  readonly socketTimeoutSec: number;
  readonly connectTimeoutSec: number;
  readonly reconnectPollTimeoutSec: number;
}

/** One Redis server as written under `override_configs`. */
export interface RedisOverride {
  readonly addr: HostPort | null;
  readonly sentinels: readonly HostPort[];
  readonly serviceName: string | null;
  readonly user: string | null;
  readonly password: string | null;
  readonly sentinelPassword: string | null;
  readonly requestTimeoutMs: number | null;
  readonly useTls: boolean;
  readonly tlsSkipVerify: boolean;
  readonly helper: RedisHelper;
}

const parseHelper = expecting(
  'a table with socket-timeout, socket-connect-timeout, reconnect-poll-timeout in seconds',
  (value: unknown): RedisHelper => {
    const read = readerOf(value);
    return {
      socketTimeoutSec: read('socket-timeout', parseNonNegative, 5),
      connectTimeoutSec: read('socket-connect-timeout', parseNonNegative, 2),
      reconnectPollTimeoutSec: read('reconnect-poll-timeout', parseNonNegative, 0.3),
    };
  },
);

const parseOverrides = expecting(
  'a table of role to the keys of [redis]',
  (value: unknown): Readonly<Record<string, RedisOverride>> => {
    if (!isTable(value)) throw new Error('expected a table');
    return Object.fromEntries(
      Object.entries(value).map(([role, server]) => [
        role.replaceAll('-', '_'),
        inPart(role, () => parseServer(server)),
      ]),
    );
  },
);

function parseServer(value: unknown): RedisOverride {
  const read = readerOf(value);
  return {
    addr: read('addr', optional(parseHostPort), null),
    sentinels: read('sentinel', parseSentinels, []),
    serviceName: read('service-name', optional(parseText), null),
    user: read('user', optional(parseText), null),
    password: read('password', optional(parseText), null),
    sentinelPassword: read('sentinel-password', optional(parseText), null),
    requestTimeoutMs: read('request-timeout', optional(integerFrom(0)), null),
    useTls: read('use-tls', parseBoolean, false),
    tlsSkipVerify: read('tls-skip-verify', parseBoolean, false),
    helper: read('redis-helper-config', parseHelper, {}),
  };
}

/** Reads keys of a table in either spelling. */
function readerOf(value: unknown) {
  if (!isTable(value)) throw new Error('expected a table');
  return <T>(name: string, parse: Parser<T>, fallback: unknown): T => {
    const written = value[name] ?? value[name.replaceAll('-', '_')];
    return inPart(name, () => parse(written ?? fallback));
  };
}

/** Spec/config-and-resources.md 1.7.14. With etcd, its `config/redis` replaces the whole table. */
export const redis = table('Where events, statistics and logs go with splenium.event-bus = "redis".', {
  addr: key('Address; ignored with sentinels', optional(parseHostPort), null, { example: '127.0.0.1:6379' }),
  sentinel: key('Sentinels', optional(parseSentinels), null, { example: ['127.0.0.1:26379'] }),
  'service-name': key('Master name of the sentinels', optional(parseText), null, { example: 'mymaster' }),
  user: key('User name', optional(parseText), null, { example: 'default' }),
  password: key('Password', optional(parseText), null, { secret: true, example: 'secret' }),
  'sentinel-password': key('Password of the sentinels; unset: password', optional(parseText), null, {
    secret: true,
    example: 'secret',
  }),
  'request-timeout': key(
    'Time for one command; unset or 0: 5000 for events, 1000 for all else',
    optional(integerFrom(0)),
    null,
    { unit: 'ms', example: 1000 },
  ),
  'use-tls': key('TLS', parseBoolean, false),
  'tls-skip-verify': key('Do not verify the certificate', parseBoolean, false),
  'redis-helper-config': key('Connection timeouts in seconds', parseHelper, {
    'socket-timeout': 5,
    'socket-connect-timeout': 2,
    'reconnect-poll-timeout': 0.3,
  }),
  'override-configs': key(
    'Servers of single roles (statistics, stream, container_log, ...), each with these keys and nothing inherited',
    parseOverrides,
    {},
  ),
});
