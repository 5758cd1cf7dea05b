import { ROOT_HOST, load } from './config-file.js';
import {
  type HostDetection,
  detectHosts,
  detectInstance,
  findAddressInSubnet,
  localAddresses,
  reportedAddresses,
} from '../../../src/config/index.js';

const ADDRESSES = localAddresses({
  lo: [{ address: '127.0.0.1' }, { address: '::1' }],
  eth0: [{ address: '10.1.2.3' }, { address: 'fd00::5' }],
  eth1: [{ address: '192.168.7.8' }],
  gone: undefined,
});

const BLANK: HostDetection = {
  rpcHost: '',
  bindHost: '',
  agentSubnet: null,
  containerSubnet: null,
  addresses: ADDRESSES,
  hostnameAddress: '10.1.2.3',
};

describe('addresses by subnet', () => {
  test.each([
    ['10.0.0.0/8', '10.1.2.3'],
    ['192.168.7.0/24', '192.168.7.8'],
    ['192.168.7.8', '192.168.7.8'],
    ['fd00::/8', 'fd00::5'],
    ['172.16.0.0/12', null],
  ])('%s', (cidr, expected) => {
    expect(findAddressInSubnet(ADDRESSES, cidr)).toBe(expected);
  });
  test.each(['10.0.0.0/33', 'x/8', '10.0.0.0/-1', ''])('%p is no subnet', (cidr) => {
    expect(() => findAddressInSubnet(ADDRESSES, cidr)).toThrow('not a subnet');
  });
});

describe('hosts that the file leaves empty', () => {
  test.each<[string, Partial<HostDetection>, string, string]>([
    ['written hosts stay', { rpcHost: '0.0.0.0', bindHost: '10.0.0.9' }, '0.0.0.0', '10.0.0.9'],
    ['the host name without a hint', {}, '10.1.2.3', '10.1.2.3'],
    ['loopback when the name resolves to nothing', { hostnameAddress: null }, '127.0.0.1', '127.0.0.1'],
    ['a hint of everything is none', { agentSubnet: '0.0.0.0/0' }, '10.1.2.3', '10.1.2.3'],
    ['the hint', { agentSubnet: '192.168.0.0/16' }, '192.168.7.8', '192.168.7.8'],
    ['a hint for containers', { containerSubnet: '192.168.0.0/16' }, '10.1.2.3', '192.168.7.8'],
    ['a hint for containers that fits nothing', { containerSubnet: '172.16.0.0/12' }, '10.1.2.3', '10.1.2.3'],
    [
      'a cloud ignores the hint',
      { agentSubnet: '192.168.0.0/16', cloudAddress: '10.9.9.9' },
      '10.9.9.9',
      '10.9.9.9',
    ],
  ])('%s', (_name, input, rpcHost, bindHost) => {
    expect(detectHosts({ ...BLANK, ...input })).toEqual({ rpcHost, bindHost });
  });
  test('a hint for agents that fits nothing is fatal', () => {
    expect(() => detectHosts({ ...BLANK, agentSubnet: '172.16.0.0/12' })).toThrow(
      'Could not find my IP address bound to subnet 172.16.0.0/12',
    );
  });
});

test('a machine of nobody’s cloud', () => {
  expect(detectInstance({ hostname: 'node1', env: {} })).toEqual({
    id: 'i-node1',
    instanceType: 'default',
    region: 'local',
  });
  expect(detectInstance({ hostname: 'node1', env: { BACKEND_REGION: 'lab' } }).region).toBe('lab');
  const cloud = { id: 'i-1', instanceType: 'big', region: 'amazon/x' };
  expect(detectInstance({ hostname: 'node1', env: {}, cloud })).toEqual(cloud);
});

describe('what managers are told', () => {
  const report = async (lines: string, bindHost = '10.0.0.9') => {
    const { config } = await load(
      `[agent]\nbackend = "dummy"\nrpc-listen-addr = ":6001"\n${lines}\n[splenium]\nallow-plaintext-rpc = true\n`,
      { host: ROOT_HOST },
    );
    const [agent] = config.agents;
    if (!agent) throw new Error('no agent');
    return reportedAddresses(config, agent, { rpcHost: '10.1.2.3', bindHost });
  };
  test.each([
    ['', { addr: 'tcp://10.1.2.3:6001', ip: '10.1.2.3', publicHost: '10.0.0.9' }],
    [
      'advertised-rpc-addr = "[fd00::1]:7001"',
      { addr: 'tcp://fd00::1:7001', ip: 'fd00::1', publicHost: '10.0.0.9' },
    ],
    ['[container]\nadvertised-host = "a"', { addr: 'tcp://10.1.2.3:6001', ip: '10.1.2.3', publicHost: 'a' }],
    [
      'public-host = "p"\n[container]\nadvertised-host = "a"',
      { addr: 'tcp://10.1.2.3:6001', ip: '10.1.2.3', publicHost: 'p' },
    ],
  ])('%s', async (lines, expected) => {
    expect(await report(lines)).toEqual(expected);
  });
});
