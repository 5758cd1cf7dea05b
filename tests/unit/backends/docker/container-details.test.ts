import { detailsOf } from '../../../../src/backends/docker/container-details.js';
import { containerSchema } from '../../../../src/backends/docker/engine-schemas.js';

test('an inspection says where the kernel’s files are, what it publishes and how it was made', () => {
  const container = containerSchema.parse({
    Id: 'c0ffee',
    Created: '2026-01-02T03:04:05.678Z',
    State: { Status: 'running' },
    Config: { Labels: { a: 'b' }, Image: 'x/y:1', Hostname: 'main1', Env: ['A=b=c', 'junk'] },
    HostConfig: {
      PortBindings: { '8081/tcp': [{ HostIp: '0.0.0.0', HostPort: '30004' }], '9/tcp': null },
      NetworkMode: 'bai-singlenode-1',
      ShmSize: 1024,
    },
    Mounts: [{ Source: '/scratches/k/config', Destination: '/home/config', RW: false }],
  });
  expect(detailsOf(container)).toEqual({
    scratch: '/scratches/k',
    labels: { a: 'b' },
    image: 'x/y:1',
    hostname: 'main1',
    environment: { A: 'b=c' },
    published: [{ containerPort: 8081, hostPort: 30004 }],
    network: 'bai-singlenode-1',
    shmBytes: 1024,
    createdAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  });
});

test('an engine that says little leaves the rest unknown; its own bridge is no network of a session', () => {
  const container = containerSchema.parse({
    Id: 'c0ffee',
    State: { Status: 'running' },
    Config: {},
    HostConfig: { NetworkMode: 'bridge' },
  });
  expect(detailsOf(container)).toEqual({
    scratch: null,
    labels: {},
    image: null,
    hostname: null,
    environment: {},
    published: [],
    network: null,
    shmBytes: null,
    createdAtMs: null,
  });
});
