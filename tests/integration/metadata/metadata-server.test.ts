import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import type { KernelHandle } from '../../../src/backends/backend.js';
import { asContainerId, parseAgentId, parseKernelId, type KernelId } from '../../../src/core/ids.js';
import { AggregateKernelRegistry } from '../../../src/kernels/aggregate-kernel-registry.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { MetadataServer } from '../../../src/metadata/metadata-server.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');

describe('metadata server', () => {
  let server: MetadataServer;
  let kernels: AggregateKernelRegistry;
  let registry: KernelRegistry;
  let log: RecordedLog;
  /** Whose address the client's is. */
  let callerOf: (address: string) => Promise<KernelHandle | null>;
  let asked: string[];

  const handleOf = (kernelId: KernelId, containerId: string): KernelHandle => ({
    version: 1,
    backend: 'docker',
    agentId: AGENT,
    kernelId,
    sessionId: kernelRequest().sessionId,
    containerId: asContainerId(containerId),
    state: {},
  });
  const addKernel = (containerId: string): KernelHandle => {
    const wanted = kernelRequest();
    const kernel = Kernel.requested(AGENT, wanted, 0);
    const handle = handleOf(kernel.id, containerId);
    kernel.learn({ handle });
    registry.add(kernel);
    return handle;
  };
  const ask = (path: string, options: { method?: string; headers?: Record<string, string> } = {}) =>
    new Promise<{ status: number; body: string; server: unknown }>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port: server.port, path, ...options }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, body, server: response.headers['server'] });
        });
      });
      sent.on('error', reject);
      sent.end();
    });

  const open = (port = 0) =>
    MetadataServer.open({
      host: '127.0.0.1',
      port,
      backend: {
        kernelAt: (address) => {
          asked.push(address);
          return callerOf(address);
        },
      },
      kernels,
      environmentOf: (kernel) => Promise.resolve({ KERNEL: kernel.id }),
      sandboxOf: () => 'jail',
      logger: log,
    });

  beforeEach(async () => {
    log = new RecordedLog();
    asked = [];
    callerOf = () => Promise.resolve(null);
    kernels = new AggregateKernelRegistry();
    registry = new KernelRegistry(AGENT, log);
    kernels.attach(registry);
    server = await open();
  });
  afterEach(() => server.close());

  test('a kernel reads its own values', async () => {
    const handle = addKernel('c1');
    callerOf = () => Promise.resolve(handle);
    const texts = await Promise.all(
      ['/', '/latest', '/latest/meta-data/', '/latest/meta-data/sandbox', '/latest/meta-data/local-ipv4'].map(
        async (path) => (await ask(path)).body,
      ),
    );
    expect(texts).toEqual(['latest/', 'meta-data/', 'envs\nlocal-ipv4\nsandbox', 'jail', '127.0.0.1']);
    const envs = await ask('/latest/meta-data/envs');
    expect(envs).toEqual({ status: 200, body: `{"KERNEL":"${handle.kernelId}"}`, server: 'BackendAI' });
    expect((await ask('/latest/meta-data/none')).status).toBe(404);
  });

  test('a stranger gets 403 whatever it asks for, and no header makes it somebody else', async () => {
    const handle = addKernel('c1');
    callerOf = (address) => Promise.resolve(address === '172.17.0.2' ? handle : null);
    const headers = {
      'x-forwarded-for': '172.17.0.2',
      forwarded: 'for=172.17.0.2',
      'x-real-ip': '172.17.0.2',
    };
    for (const path of ['/', '/latest/meta-data/envs', '/nothing'])
      expect((await ask(path, { headers })).status).toBe(403);
    expect((await ask('/', { method: 'POST' })).status).toBe(403);
    expect(new Set(asked)).toEqual(new Set(['127.0.0.1']));
  });

  test('only GET and HEAD are answered', async () => {
    const handle = addKernel('c1');
    callerOf = () => Promise.resolve(handle);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      expect((await ask('/latest/meta-data/envs', { method })).status).toBe(405);
    expect(await ask('/latest/meta-data/sandbox', { method: 'HEAD' })).toMatchObject({
      status: 200,
      body: '',
    });
  });

  test('the environment of a kernel that its agent does not know, or of its earlier container, is not there', async () => {
    const known = addKernel('c1');
    for (const handle of [handleOf(parseKernelId(randomUUID()), 'c2'), handleOf(known.kernelId, 'c0')]) {
      callerOf = () => Promise.resolve(handle);
      expect((await ask('/latest/meta-data/envs')).status).toBe(404);
      expect((await ask('/latest/meta-data/sandbox')).status).toBe(200);
    }
  });

  test('an engine that does not answer is said to the kernel and to the log, and does not end the server', async () => {
    callerOf = () => Promise.reject(new Error('the engine is away'));
    expect((await ask('/')).status).toBe(503);
    expect(log.lines.map(({ message }) => message)).toContain('a request for metadata failed');
    callerOf = () => Promise.resolve(null);
    expect((await ask('/')).status).toBe(403);
  });

  test('one address has a bounded number of connections, and gets new ones when those end', async () => {
    const sockets = Array.from({ length: 20 }, () => connect(server.port, '127.0.0.1'));
    const closed = new Set<unknown>();
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.on('close', () => closed.add(socket));
      socket.resume();
    }
    await eventually(() => {
      expect(closed.size).toBe(4);
    });
    for (const socket of sockets) socket.destroy();
    await eventually(async () => {
      expect((await ask('/')).status).toBe(403);
    });
  });

  test('headers beyond the bound are refused', async () => {
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(16_384)}\r\n\r\n`);
    let text = '';
    for await (const chunk of socket.setEncoding('utf8')) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1.1 431 /);
  });

  test('a port that is taken is an error that says what to do', async () => {
    await expect(open(server.port)).rejects.toMatchObject({
      code: 'METADATA_SERVER_FAILED',
      message: expect.stringMatching(/port \d+: another program listens there.*agent\.metadata-server-port/),
    });
  });
});
