import {
  clusterSshPort,
  countHostPorts,
  fixedPorts,
  mergeApps,
  parseServicePorts,
  planServices,
  publicServices,
  withHostPorts,
} from '../../../../src/kernels/lifecycle/service-ports.js';
import type { KernelCreationConfig } from '../../../../src/kernels/requests.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

describe('the label of an image', () => {
  test.each([
    ['', []],
    ['jupyter:http:8080', [['jupyter', 'http', [8080]]]],
    [
      'ipython:pty:3000, jupyter:http:8080 ,dashboard:tcp:[8081,8082]',
      [
        ['jupyter', 'http', [8080]],
        ['dashboard', 'tcp', [8081, 8082]],
      ],
    ],
    [
      'desktop:vnc:5900,remote:rdp:3389',
      [
        ['desktop', 'vnc', [5900]],
        ['remote', 'rdp', [3389]],
      ],
    ],
    ['a-b_c:preopen:1025', [['a-b_c', 'preopen', [1025]]]],
    ['x:tcp:65534', [['x', 'tcp', [65534]]]],
  ])('%p is read', (label, expected) => {
    const services = parseServicePorts(label, '');
    expect(services.map(({ name, protocol, containerPorts }) => [name, protocol, containerPorts])).toEqual(
      expected,
    );
  });

  test.each([
    ['jupyter', /not of the form/],
    ['jupyter:http', /not of the form/],
    ['ju pyter:http:8080', /not of the form/],
    ['jupyter:http:eighty', /not of the form/],
    ['jupyter:http:[]', /not of the form/],
    ['jupyter:ftp:8080', /unsupported service port protocol 'ftp'/],
    ['jupyter:http:1024', /must be above 1024/],
    ['jupyter:http:65535', /below 65535/],
    ['jupyter:http:2000', /reserved/],
    ['jupyter:http:2003', /reserved/],
    ['jupyter:http:2200', /reserved/],
    ['jupyter:http:7681', /reserved/],
    ['a:http:8080,b:http:8080', /there already/],
    ['a:http:[8080,8080]', /there already/],
  ])('%p is refused with the reason', (label, message) => {
    expect(() => parseServicePorts(label, '')).toThrow(message);
  });

  test('endpoints are marked', () => {
    const services = parseServicePorts('a:http:8080,b:http:8081', 'b, c');
    expect(services.map(({ isInference }) => isInference)).toEqual([false, true]);
  });
});

describe('the services of a kernel', () => {
  const configOf = (config: Partial<KernelCreationConfig>) => kernelRequest({ config }).config;

  test('come in their order: built-in, pre-opened, image, host ports', () => {
    const services = planServices(configOf({ preopenPorts: [9000], allocatedHostPorts: [40001, 40002] }));
    expect(
      services.map(({ name, protocol, containerPorts }) => `${name} ${protocol} ${containerPorts.join()}`),
    ).toEqual([
      'sshd tcp 2200',
      'ttyd http 7681',
      '9000 preopen 9000',
      'jupyter http 8070',
      'hostport1 internal 40001',
      'hostport2 internal 40002',
    ]);
  });

  test.each(['sub', 'worker'])('of role %s are the built-in ones', (clusterRole) => {
    expect(planServices(configOf({ clusterRole, preopenPorts: [9000] })).map(({ name }) => name)).toEqual([
      'sshd',
      'ttyd',
    ]);
  });

  test.each([
    [{ preopenPorts: [2000] }, 'Port 2000 and 2001 are reserved for internal use'],
    [{ allocatedHostPorts: [2001] }, 'Port 2000 and 2001 are reserved for internal use'],
    [{ preopenPorts: [2200] }, 'Port 2200 overlaps with built-in service sshd'],
    [{ preopenPorts: [7681] }, 'Port 7681 overlaps with built-in service ttyd'],
    [{ preopenPorts: [8070] }, 'Port 8070 of service jupyter overlaps with service 8070'],
    [{ preopenPorts: [9000, 9000] }, 'Port 9000 of service 9000 overlaps with service 9000'],
    [{ preopenPorts: [70000] }, 'Port 70000 of service 70000 is not a port number'],
  ])('%j are refused', (config, message) => {
    expect(() => planServices(configOf(config))).toThrow(
      expect.objectContaining({ pythonName: 'AgentError', message }),
    );
  });

  test('get one host port for each container port', () => {
    const services = parseServicePorts('a:http:[8080,8081],b:tcp:8082', '');
    expect(countHostPorts(services, new Map())).toBe(3);
    expect(withHostPorts(services, [1, 2, 3], new Map()).map(({ hostPorts }) => hostPorts)).toEqual([
      [1, 2],
      [3],
    ]);
    expect(() => withHostPorts(services, [1, 2], new Map())).toThrow(/no host port is left for service b/);
  });

  test('take over a port that was given out before', () => {
    const services = planServices(configOf({}));
    const fixed = new Map([['sshd', [31000]]]);
    expect(countHostPorts(services, fixed)).toBe(2);
    expect(withHostPorts(services, [1, 2], fixed).map(({ hostPorts }) => hostPorts)).toEqual([
      [31000],
      [1],
      [2],
    ]);
  });

  test('are where they listen on the network of the machine; only the built-in ones can be told', () => {
    const services = planServices(configOf({ preopenPorts: [9000], allocatedHostPorts: [40001] }));
    const fixed = fixedPorts(services, { sshPort: 31000, isOnHost: true, isToldHostPorts: false });
    expect(countHostPorts(services, fixed)).toBe(1);
    expect(withHostPorts(services, [30002], fixed).map(({ name, hostPorts }) => [name, hostPorts])).toEqual([
      ['sshd', [31000]],
      ['ttyd', [30002]],
      ['9000', [9000]],
      ['jupyter', [8070]],
      ['hostport1', [40001]],
    ]);
    expect(fixedPorts(services, { sshPort: undefined, isOnHost: false, isToldHostPorts: false }).size).toBe(
      0,
    );
  });

  test.each([
    ['its host name', () => 'main1'],
    ['its id, as managers do', (kernelId: string) => `node-${kernelId}`],
    ['nothing', () => 'sub1'],
  ])('find the SSH port of their kernel in the mapping of the cluster under %s', (_title, nameOf) => {
    const { kernelId, ...request } = kernelRequest();
    const clusterSshPortMapping = { [nameOf(kernelId)]: ['10.0.0.1', 30050] as const };
    const cluster = { ...request.cluster, clusterSshPortMapping };
    expect(clusterSshPort({ ...request, kernelId, cluster })).toBe(
      nameOf(kernelId) === 'sub1' ? undefined : 30050,
    );
  });

  test('of a backend without networks: who starts by itself listens where it says, others where they are told', () => {
    const services = planServices(configOf({ preopenPorts: [9000], allocatedHostPorts: [40001] }));
    const fixed = fixedPorts(services, { sshPort: undefined, isOnHost: true, isToldHostPorts: true });
    expect(Object.fromEntries(fixed)).toEqual({ 9000: [9000], hostport1: [40001] });
  });

  test('learn from the runner without losing their protocol, and hide the internal ones', () => {
    const services = withHostPorts(
      planServices(configOf({ allocatedHostPorts: [40001] })),
      [1, 2, 3, 4],
      new Map(),
    );
    const merged = mergeApps(services, [
      { name: 'jupyter', urlTemplate: '/lab', allowedArguments: ['--dir'], allowedEnvs: ['A'] },
      { name: 'unknown', urlTemplate: '/' },
    ]);
    expect(merged[2]).toEqual({
      name: 'jupyter',
      protocol: 'http',
      containerPorts: [8070],
      hostPorts: [3],
      isInference: false,
      urlTemplate: '/lab',
      allowedArguments: ['--dir'],
      allowedEnvs: ['A'],
    });
    expect(publicServices(merged).map(({ name }) => name)).toEqual(['sshd', 'ttyd', 'jupyter']);
  });
});
