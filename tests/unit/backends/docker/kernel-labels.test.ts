import { containerSchema } from '../../../../src/backends/docker/engine-schemas.js';
import { adoptedHandle, foldersOf, handleFromLabels } from '../../../../src/backends/docker/kernel-labels.js';

const KERNEL = '0123abcd-0000-4000-8000-000000000001';
const SESSION = '0123abcd-0000-4000-8000-000000000002';
const labels = {
  'ai.backend.kernel-id': KERNEL,
  'ai.backend.session-id': SESSION,
  'ai.backend.owner': 'i-node01',
};
const original = (changes: Record<string, unknown> = {}) =>
  containerSchema.parse({
    Id: 'c0ffee',
    State: { Status: 'running' },
    Config: { Labels: labels },
    HostConfig: {
      PortBindings: {
        '2000/tcp': [{ HostIp: '127.0.0.1', HostPort: '30000' }],
        '2001/tcp': [{ HostIp: '127.0.0.1', HostPort: '30001' }],
      },
    },
    Mounts: [
      { Type: 'bind', Source: '/scratch/k/work', Destination: '/home/work', RW: true },
      { Type: 'bind', Source: '/vf/data', Destination: '/home/work/data', RW: false },
      { Type: 'bind', Source: '/etc/localtime', Destination: '/etc/localtime', RW: false },
      { Type: 'tmpfs', Destination: '/tmp' },
    ],
    ...changes,
  });

test('folders below the work directory, volumes and the rest left out', () => {
  expect(
    foldersOf([
      { source: '/a', target: '/home/work/data/', permission: 'rw' },
      { source: '/b', target: '/data', permission: 'rw' },
      { source: 'volume', target: '/home/work/samples', permission: 'ro' },
      { source: '/c', target: '/home/workshop', permission: 'ro' },
    ]),
  ).toEqual([{ at: 'data', source: '/a', permission: 'rw' }]);
});

test('a container of the original is taken over from its mounts and ports', () => {
  expect(adoptedHandle(original())).toEqual({
    version: 1,
    backend: 'docker',
    agentId: 'i-node01',
    kernelId: KERNEL,
    sessionId: SESSION,
    containerId: 'c0ffee',
    state: {
      work: '/scratch/k/work',
      folders: [{ at: 'data', source: '/vf/data', permission: 'ro' }],
      uid: null,
      gid: null,
      replIn: 'tcp://127.0.0.1:30000',
      replOut: 'tcp://127.0.0.1:30001',
      published: {},
      networks: [],
    },
  });
});

test('what has no work directory or no runner is no kernel', () => {
  expect(adoptedHandle(original({ Mounts: [] }))).toBeNull();
  expect(adoptedHandle(original({ HostConfig: {} }))).toBeNull();
});

test('damaged labels are an error that names no handle', () => {
  expect(() =>
    adoptedHandle(original({ Config: { Labels: { ...labels, 'ai.backend.session-id': 'x' } } })),
  ).toThrow();
  expect(handleFromLabels('c0ffee', labels)).toBeNull();
  expect(() => handleFromLabels('c0ffee', { ...labels, 'ai.backend.splenium.state': '{' })).toThrow();
  expect(() => handleFromLabels('c0ffee', { ...labels, 'ai.backend.splenium.state': '{}' })).toThrow();
});
