import { BlockList, isIP } from 'node:net';
import { ValueError } from '../core/errors.js';
import type { Environment } from './effective.js';
import type { HostPort } from './host-port.js';
import { ConfigError } from './problems.js';
import type { AgentConfig, DaemonConfig } from './types.js';

/** Who and where this node is (spec/config-and-resources.md 2). Pure: addresses and names come in. */

export interface LocalAddress {
  readonly address: string;
}

/** What stands in for unset keys of the file. */
export interface InstanceIdentity {
  readonly id: string;
  readonly instanceType: string;
  readonly region: string;
}

/** On a machine of nobody's cloud; a cloud's answer, if any, comes in and wins, but for `BACKEND_REGION`. */
export function detectInstance(input: {
  readonly hostname: string;
  readonly env: Environment;
  readonly cloud?: InstanceIdentity | null;
}): InstanceIdentity {
  if (input.cloud) return input.cloud;
  return {
    id: `i-${input.hostname}`,
    instanceType: 'default',
    region: input.env['BACKEND_REGION'] || 'local',
  };
}

/** Interfaces of `os.networkInterfaces()` in order. */
export function localAddresses(
  interfaces: Readonly<Record<string, readonly LocalAddress[] | undefined>>,
): readonly LocalAddress[] {
  return Object.values(interfaces).flatMap((addresses) => addresses ?? []);
}

/**
 * The first local address inside a CIDR such as `10.0.0.0/8`; null when there is none.
 * @throws ValueError when the text is no CIDR.
 */
export function findAddressInSubnet(addresses: readonly LocalAddress[], cidr: string): string | null {
  const { network, prefix, family } = parseCidr(cidr);
  const subnet = new BlockList();
  subnet.addSubnet(network, prefix, family);
  const found = addresses.find(
    ({ address }) => familyOf(address) === family && subnet.check(address, family),
  );
  return found?.address ?? null;
}

function parseCidr(cidr: string) {
  const [network = '', length = ''] = cidr.split('/');
  const family = familyOf(network);
  const bits = family === 'ipv4' ? 32 : 128;
  const prefix = length === '' ? bits : Number(length);
  if (family === null || !/^\d*$/.test(length) || prefix > bits)
    throw new ValueError(`not a subnet: '${cidr}'; write it as 10.0.0.0/8`);
  return { network, prefix, family };
}

const familyOf = (address: string): 'ipv4' | 'ipv6' | null =>
  isIP(address) === 4 ? 'ipv4' : isIP(address) === 6 ? 'ipv6' : null;

export interface HostDetection {
  readonly rpcHost: string;
  readonly bindHost: string;
  /** etcd `config/network/subnet/agent`. */
  readonly agentSubnet: string | null;
  /** etcd `config/network/subnet/container`. */
  readonly containerSubnet: string | null;
  readonly addresses: readonly LocalAddress[];
  /** IPv4 address that this machine's name resolves to; null: none. */
  readonly hostnameAddress: string | null;
  /** Address that a cloud tells; it makes the agent's subnet meaningless. */
  readonly cloudAddress?: string | null;
}

export interface DetectedHosts {
  readonly rpcHost: string;
  readonly bindHost: string;
}

/**
 * Fills in the hosts that the file leaves empty.
 * @throws ConfigError when no local address lies in the agents' subnet; ValueError when a subnet is none.
 */
export function detectHosts(input: HostDetection): DetectedHosts {
  const rpcHost = input.rpcHost === '' ? detectRpcHost(input) : input.rpcHost;
  if (input.bindHost !== '') return { rpcHost, bindHost: input.bindHost };
  const hint = subnetHint(input.containerSubnet);
  return {
    rpcHost,
    bindHost: (hint === null ? null : findAddressInSubnet(input.addresses, hint)) ?? rpcHost,
  };
}

function detectRpcHost({ agentSubnet, addresses, hostnameAddress, cloudAddress }: HostDetection): string {
  if (cloudAddress != null && cloudAddress !== '') return cloudAddress;
  const hint = subnetHint(agentSubnet);
  if (hint === null) return hostnameAddress ?? '127.0.0.1';
  const found = findAddressInSubnet(addresses, hint);
  if (found !== null) return found;
  throw new ConfigError([
    {
      key: 'config/network/subnet/agent',
      message: `Could not find my IP address bound to subnet ${hint}`,
      origin: 'etcd',
      hint: 'set agent.rpc-listen-addr with a host',
    },
  ]);
}

/** A subnet of everything says nothing. */
const subnetHint = (subnet: string | null): string | null =>
  subnet === null || subnet.trim() === '' || /\/0+$/.test(subnet.trim()) ? null : subnet.trim();

/** What a heartbeat tells managers of where to find this agent (spec 2.2, 4). */
export interface ReportedAddresses {
  /** `tcp://host:port`, IPv6 without brackets as in the original. */
  readonly addr: string;
  readonly ip: string;
  readonly publicHost: string;
}

export function reportedAddresses(
  config: Pick<DaemonConfig, 'rpc' | 'publicHost'>,
  agent: Pick<AgentConfig, 'advertisedHost'>,
  detected: DetectedHosts,
): ReportedAddresses {
  const listen: HostPort = { host: detected.rpcHost, port: config.rpc.listen.port };
  const { host, port } = config.rpc.advertised ?? listen;
  return {
    addr: `tcp://${host}:${String(port)}`,
    ip: host,
    publicHost: config.publicHost || agent.advertisedHost || detected.bindHost,
  };
}
