import { isIP } from 'node:net';
import { messageOf } from '../core/errors.js';
import { isTable } from './formats.js';
import { PartError, expecting } from './parser.js';

export interface HostPort {
  /** Empty: to be detected. IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Spec/config-and-resources.md 1.2, "HostPort": text splits at the last colon. */
export const parseHostPort = expecting(
  '"host:port", ["host", port] or { host, port }',
  (value: unknown): HostPort => {
    const { host, port } = hostAndPort(value);
    if (!/^\d+$/.test(port.trim())) throw new Error('port number must be an integer');
    const number = Number(port);
    if (number < 1 || number > 65_535) throw new Error('port number must be between 1 and 65535');
    return { host: canonicalHost(host), port: number };
  },
);

function hostAndPort(value: unknown): { host: string; port: string } {
  if (typeof value === 'string') {
    const colon = value.lastIndexOf(':');
    if (colon < 0) throw new Error('value as string must contain both address and number');
    return { host: value.slice(0, colon), port: value.slice(colon + 1) };
  }
  if (Array.isArray(value)) {
    if (value.length !== 2)
      throw new Error('value as array must contain only two values for address and number');
    return { host: String(value[0]), port: String(value[1]) };
  }
  if (isTable(value)) {
    if (!('host' in value) || !('port' in value))
      throw new Error('value as map must contain "host" and "port" keys');
    return { host: String(value['host']), port: String(value['port']) };
  }
  throw new Error('expected "host:port", [host, port] or { host, port }');
}

/** An IP address in its shortest form and without brackets; a name as it is. */
function canonicalHost(host: string): string {
  const bare = host.replace(/^\[|\]$/g, '');
  if (isIP(bare) === 0) return host;
  const url = `http://${isIP(bare) === 6 ? `[${bare}]` : bare}`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : bare;
}

export const formatHostPort = ({ host, port }: HostPort): string =>
  `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;

/** One address or a list. A bare pair is a list of two, as in the original, and so refused. */
export const parseHostPortList = expecting(
  'one address or a list of addresses',
  (value: unknown): readonly HostPort[] => {
    if (!Array.isArray(value)) return [parseHostPort(value)];
    return value.map((item: unknown, index) => part(index, () => parseHostPort(item)));
  },
);

/** As `parseHostPortList`, also comma-separated in one text. */
export const parseSentinels = expecting(
  'a list of addresses, or "host:port,host:port"',
  (value: unknown): readonly HostPort[] =>
    parseHostPortList(
      typeof value === 'string' ? value.split(',').filter((item) => item.trim() !== '') : value,
    ),
);

function part<T>(index: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new PartError([index], messageOf(error));
  }
}

/** A manager elsewhere cannot reach a link-local address, so the original refuses to listen on one. */
export const parseRpcListenAddress = expecting(parseHostPort.expects, (value: unknown): HostPort => {
  const address = parseHostPort(value);
  if (/^(169\.254\.|fe[89ab][0-9a-f]:)/i.test(address.host))
    throw new Error('Cannot use link-local IP address as the RPC listening host.');
  return address;
});

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\./.test(host);
