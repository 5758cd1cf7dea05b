import { createServer, type Server } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelHandle } from '../../../../src/backends/backend.js';
import { Engine } from '../../../../src/backends/docker/engine.js';
import { commitContainer, commitRequest } from '../../../../src/backends/docker/image-commit.js';
import { deferred } from '../../../../src/core/async.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../../src/core/ids.js';
import { eventually } from '../../../support/eventually.js';

const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
const HANDLE: KernelHandle = {
  version: 1,
  backend: 'docker',
  agentId: parseAgentId('i-one'),
  kernelId: parseKernelId(KERNEL),
  sessionId: parseSessionId(KERNEL),
  containerId: asContainerId('c0ffee'),
  state: {},
};
const request = (
  canonical: string | null,
  labels: Readonly<Record<string, string>> = {},
  version = '29.0.0',
) => commitRequest('c0ffee', { canonical, labels }, version);

describe('what the engine is asked for', () => {
  test.each([
    ['python', 'python', 'latest'],
    ['user/python:3.11', 'user/python', '3.11'],
    ['localhost:5000/python', 'localhost:5000/python', 'latest'],
    ['localhost:5000/user/python:mine', 'localhost:5000/user/python', 'mine'],
  ])('%s is %s with the tag %s', (canonical, repo, tag) => {
    expect(request(canonical).query).toMatchObject({ container: 'c0ffee', pause: 'true', repo, tag });
  });

  test('an image without a name has neither', () => {
    expect(Object.keys(request(null).query).sort()).toEqual(['changes', 'container', 'pause']);
  });

  test('labels are lines of their own in which nothing has a meaning', () => {
    const { changes } = request(null, { 'a.b': 'two words', odd: 'q"b\\c$HOME', empty: '' }).query;
    expect(changes?.split('\n').slice(-3)).toEqual([
      'LABEL "a.b"="two words"',
      'LABEL "odd"="q\\"b\\\\c\\$HOME"',
      'LABEL "empty"=""',
    ]);
  });

  test('what makes a container a kernel of this agent is blanked', () => {
    const { changes } = request(null).query;
    for (const name of ['owner', 'kernel-id', 'session-id', 'agent-id', 'splenium.state'])
      expect(changes).toContain(`LABEL "ai.backend.${name}"=""`);
  });

  test.each([
    ['a', 'x\nRUN rm'],
    ['a\nb', 'x'],
    ['a', 'x\r'],
    ['', 'x'],
  ])('the label %j=%j is refused', (name, value) => {
    expect(() => request(null, { [name]: value })).toThrow(
      expect.objectContaining({ code: 'ARGS_INVALID_VALUE' }),
    );
  });

  test.each([
    ['23.0.7', true],
    ['23.0.8', false],
    ['24.0.0', true],
    ['24.0.0-rc.1', true],
    ['24.0.1', false],
    ['20.10.24', false],
    ['26.1.5+dfsg1', false],
    ['unknown', false],
  ])('engine %s needs a body: %s', (version, needed) => {
    expect(request(null, {}, version).body).toEqual(needed ? { ContainerSpec: {} } : {});
  });
});

describe('against an engine', () => {
  let directory: string;
  let server: Server;
  let engine: Engine;
  let version: string;
  let gate: Promise<void>;
  let commits: { readonly url: URL; readonly body: string }[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'spl-ic-'));
    version = '29.0.0';
    gate = Promise.resolve();
    commits = [];
    server = createServer((incoming, answer) => {
      const url = new URL(incoming.url ?? '/', 'http://engine');
      let body = '';
      incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
      incoming.on('end', () => {
        if (url.pathname.endsWith('/version')) {
          answer.end(JSON.stringify({ Version: version, ApiVersion: '1.44' }));
          return;
        }
        commits.push({ url, body });
        void gate.then(() => {
          answer.statusCode = 201;
          answer.end(JSON.stringify({ Id: 'sha256:made' }));
        });
      });
    });
    const socketPath = join(directory, 'engine.sock');
    server.listen(socketPath);
    await once(server, 'listening');
    engine = new Engine({ socketPath });
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true, force: true });
  });

  const removed: string[] = [];
  const images = {
    remove: (id: string) => {
      removed.push(id);
      return Promise.resolve();
    },
  };
  const commit = (signal: AbortSignal) =>
    commitContainer({ engine, images }, HANDLE, { canonical: 'r:5000/a:1', labels: { x: 'y' } }, signal);

  test('the request is a query, and the answer is the id', async () => {
    expect(await commit(new AbortController().signal)).toBe('sha256:made');
    const [made] = commits;
    expect(Object.fromEntries(made?.url.searchParams ?? [])).toMatchObject({
      container: 'c0ffee',
      repo: 'r:5000/a',
      tag: '1',
      changes: expect.stringMatching(/LABEL "x"="y"$/) as unknown,
    });
    expect(made?.body).toBe('');
  });

  test('an old engine gets a body', async () => {
    version = '24.0.0';
    await commit(new AbortController().signal);
    expect(JSON.parse(commits[0]?.body ?? '')).toEqual({ ContainerSpec: {} });
  });

  test('an image that comes when nobody waits any more is removed', async () => {
    const late = deferred<void>();
    gate = late.promise;
    const leaving = new AbortController();
    const failing = expect(commit(leaving.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    await eventually(() => {
      expect(commits).toHaveLength(1);
    });
    leaving.abort();
    await failing;
    late.resolve();
    await eventually(() => {
      expect(removed).toEqual(['sha256:made']);
    });
  });
});
