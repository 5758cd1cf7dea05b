import { parseAgentId } from '../../../../src/core/ids.js';
import type { NetworkPlugin } from '../../../../src/kernels/networks/network-plugin.js';
import { SessionNetworks, withExposedPorts } from '../../../../src/kernels/networks/session-networks.js';
import type { ClusterInfo } from '../../../../src/kernels/requests.js';
import { kernelRequest } from '../../../support/kernel-requests.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const agentId = parseAgentId('i-one');
const signal = new AbortController().signal;

function requestOn(networkConfig: Record<string, unknown>, cluster: Partial<ClusterInfo> = {}) {
  const request = kernelRequest();
  return { ...request, cluster: { ...request.cluster, networkConfig, ...cluster } };
}

const join = (
  networkConfig: Record<string, unknown>,
  { plugins, ...cluster }: Partial<ClusterInfo> & { readonly plugins?: readonly NetworkPlugin[] } = {},
) =>
  new SessionNetworks(plugins).join(agentId, requestOn(networkConfig, cluster), { isPreview: false, signal });

describe('the network of a session', () => {
  test.each([[{}], [{ mode: null }], [{ mode: '' }]])('is none with %j', async (networkConfig) => {
    expect(await join(networkConfig)).toBeNull();
  });

  test('is named by the manager, and overlays span machines', async () => {
    const named = { mode: 'named', name: 'bai', aliases: ['main1'] };
    expect(await join({ mode: 'bridge', network_name: 'bai' })).toEqual(named);
    expect(await join({ mode: 'overlay', network_name: 'bai' })).toEqual({ ...named, spansMachines: true });
  });

  test('may be the machine’s, which knows the other kernels by the SSH port mapping', async () => {
    expect(await join({ mode: 'host' })).toEqual({ mode: 'host', hosts: {} });
    const clusterSshPortMapping = { main1: ['10.0.0.5', 30002], sub1: ['10.0.0.6', 30007] } as const;
    expect(await join({ mode: 'host' }, { clusterSshPortMapping })).toEqual({
      mode: 'host',
      hosts: { main1: '10.0.0.5', sub1: '10.0.0.6' },
    });
  });

  test.each([
    [{ mode: 'bridge' }, 'mode bridge needs network_name'],
    [{ mode: 'overlay', network_name: '' }, 'mode overlay needs network_name'],
    [{ mode: 'calico' }, 'there is no network plugin "calico" here; modes are bridge, overlay, host'],
    [{ mode: 7 }, 'there is no network plugin 7 here'],
  ])('%j is refused', async (networkConfig, message) => {
    await expect(join(networkConfig)).rejects.toThrow(message);
  });

  test('is not there for a built-in mode that the operator has taken away', async () => {
    await expect(join({ mode: 'host' }, { plugins: [] })).rejects.toThrow(
      'there is no network plugin "host" here; modes are bridge',
    );
  });
});

describe('a plugin', () => {
  const plugin = (join: () => unknown): NetworkPlugin => ({ name: 'fabric', join }) as NetworkPlugin;

  test('is told of the kernel and of its cluster', async () => {
    const asked: unknown[] = [];
    const fabric: NetworkPlugin = {
      name: 'fabric',
      join: (member, options) => {
        asked.push(member, options);
        return Promise.resolve({
          mode: 'options',
          containerOptions: { MacAddress: 'x' },
          publishesPorts: true,
        });
      },
    };
    const request = requestOn({ mode: 'fabric', network_name: 'n', vni: 7 });
    expect(await new SessionNetworks([fabric]).join(agentId, request, { isPreview: true })).toEqual({
      mode: 'options',
      containerOptions: { MacAddress: 'x' },
      publishesPorts: true,
    });
    expect(asked).toEqual([
      {
        agentId: 'i-one',
        kernelId: request.kernelId,
        sessionId: request.sessionId,
        clusterRole: 'main',
        clusterHostname: 'main1',
        networkConfig: { mode: 'fabric', network_name: 'n', vni: 7 },
        sshPorts: {},
      },
      { isPreview: true },
    ]);
  });

  test('whose answer is none fails the kernel with the plugin’s name', async () => {
    const plugins = [plugin(() => Promise.resolve({ mode: 'odd' }))];
    await expect(join({ mode: 'fabric' }, { plugins })).rejects.toThrow(/network plugin fabric: join: mode/);
  });

  test('that fails to let a kernel go is logged, one that is gone is nobody’s error', async () => {
    const log = new RecordedLog();
    const failing = { ...plugin(() => undefined), leave: () => Promise.reject(new Error('no carrier')) };
    await new SessionNetworks([failing]).leave(agentId, requestOn({ mode: 'fabric' }), log);
    expect(log.lines).toMatchObject([
      {
        level: 'error',
        message: 'a network plugin could not let a kernel go',
        fields: { error: 'no carrier' },
      },
    ]);
    await new SessionNetworks([]).leave(agentId, requestOn({ mode: 'fabric' }), log);
    expect(log.lines).toHaveLength(1);
  });
});

test('ports that a plugin has moved are what clients are told', () => {
  const service = { protocol: 'tcp', isInference: false } as const;
  const services = [
    { ...service, name: 'sshd', containerPorts: [2200], hostPorts: [30002] },
    { ...service, name: 'web', containerPorts: [8080, 8081], hostPorts: [30003, 30004] },
  ];
  expect(
    withExposedPorts(services, { services: { web: { 8081: 443 } } }).map(({ hostPorts }) => hostPorts),
  ).toEqual([[30002], [30003, 443]]);
  expect(withExposedPorts(services, null)).toBe(services);
});
