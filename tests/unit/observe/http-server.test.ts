import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { httpMetrics, HttpServer, PrometheusMetrics } from '../../../src/observe/index.js';

let isHealthy: boolean;
let metrics: PrometheusMetrics;
const options = () => ({
  host: '127.0.0.1',
  port: 0,
  health: () => Promise.resolve({ isHealthy, body: { status: isHealthy ? 'ok' : 'degraded' } }),
  metrics: () => metrics.text(),
  logger: silentLogger,
});

beforeEach(() => {
  isHealthy = true;
  metrics = new PrometheusMetrics();
});

test('/health answers 200 whatever it says; /livez and /readyz answer 503 with status error', async () => {
  const server = await HttpServer.open(options());
  try {
    isHealthy = false;
    const health = await fetch(`${server.url}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: 'degraded' }]);
    for (const path of ['/livez', '/readyz']) {
      const answer = await fetch(`${server.url}${path}`);
      expect([answer.status, await answer.json()]).toEqual([503, { status: 'error' }]);
    }
  } finally {
    await server.close();
  }
});

test('requests are counted, and paths of strangers make one series together', async () => {
  const server = await HttpServer.open({ ...options(), onAnswer: httpMetrics(metrics) });
  try {
    for (const path of ['/health', '/a', '/b']) await (await fetch(`${server.url}${path}`)).text();
  } finally {
    await server.close();
  }
  const lines = (await metrics.text()).split('\n').filter((line) => line.includes('request_count_total{'));
  expect(lines.map((line) => [/endpoint="([^"]*)"/.exec(line)?.[1], line.split(' ').at(-1)])).toEqual([
    ['/health', '1'],
    ['other', '2'],
  ]);
});

test('with a certificate it is served over TLS, and plain HTTP is refused', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'splenium-tls-'));
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const subject = ['-subj', '/CN=localhost', '-days', '1', '-nodes', '-newkey', 'rsa:2048'];
  execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', keyFile, '-out', certFile], {
    stdio: 'ignore',
  });
  const cert = await readFile(certFile);
  const server = await HttpServer.open({ ...options(), tls: { cert, key: await readFile(keyFile) } });
  try {
    expect(server.url).toMatch(/^https:/);
    const status = await new Promise((resolve, reject) => {
      get(
        `${server.url}/health`,
        { ca: cert, servername: 'localhost', checkServerIdentity: () => undefined },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        },
      ).on('error', reject);
    });
    expect(status).toBe(200);
    await expect(fetch(server.url.replace('https', 'http'))).rejects.toThrow();
  } finally {
    await server.close();
    await rm(directory, { recursive: true });
  }
});
