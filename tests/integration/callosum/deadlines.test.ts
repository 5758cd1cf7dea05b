import { createRequestId } from '../../../src/callosum/wire/message.js';
import { deferred } from '../../../src/core/async.js';
import { RecordedMetrics } from '../../support/callosum.js';
import {
  echo,
  patient,
  PeerBench,
  receiveMessage,
  receiveUntilPong,
  sendMessage,
} from '../../support/callosum-peers.js';

const bench = new PeerBench();
afterEach(() => bench.close());

const call = (method: string, sequence: number) =>
  ({ type: 'FUNCTION', id: createRequestId(method, '', sequence), payload: Buffer.of(0xc0) }) as const;

test('a call beyond its deadline is answered with TimeoutError, and its signal aborts', async () => {
  const reason = deferred<unknown>();
  const metrics = new RecordedMetrics();
  const server = await bench.bind(
    ({ signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          reason.resolve(signal.reason);
        });
      }),
    { deadlines: { defaultMs: 20 }, metrics },
  );
  const client = await bench.connect(server);
  await expect(client.invoke('slow', null)).rejects.toMatchObject({
    code: 'REMOTE_FAILURE',
    remoteName: 'TimeoutError',
    remoteRepr: "TimeoutError('slow: no result within 20 ms')",
  });
  await expect(reason.promise).resolves.toMatchObject({ code: 'TIMEOUT' });
  expect(server.inFlight).toBe(0);
  expect(metrics.value('callosum_calls_timed_out_total')).toBe(1);
});

test('a handler that does not listen is answered for once, whatever it does later', async () => {
  const gate = deferred<string>();
  const ended = deferred<null>();
  const server = await bench.bind(
    async ({ method }) => {
      if (method === 'probe') return null;
      const result = await gate.promise;
      ended.resolve(null);
      return result;
    },
    { deadlines: { methods: { deaf: 20 } } },
  );
  const socket = bench.dealer(server);
  await sendMessage(socket, call('deaf', 0));
  await expect(receiveMessage(socket)).resolves.toMatchObject({
    type: 'FAILURE',
    description: { name: 'TimeoutError' },
  });
  gate.resolve('too late');
  await ended.promise;
  await sendMessage(socket, call('probe', 1));
  await expect(receiveMessage(socket)).resolves.toMatchObject({ id: { method: 'probe' } });
  await expect(receiveUntilPong(socket)).resolves.toEqual([]);
});

test('a handler that asks for its signal only after the deadline finds it aborted', async () => {
  const gate = deferred<null>();
  const seen = deferred<boolean>();
  const server = await bench.bind(
    async (request) => {
      await gate.promise;
      seen.resolve(request.signal.aborted);
    },
    { deadlines: { defaultMs: 20 } },
  );
  const client = await bench.connect(server);
  await expect(client.invoke('late', null)).rejects.toMatchObject({ remoteName: 'TimeoutError' });
  gate.resolve(null);
  await expect(seen.promise).resolves.toBe(true);
});

test('a method has its own deadline, or none, whatever the default', async () => {
  const gate = deferred<string>();
  const server = await bench.bind(
    (request) => (request.method === 'wait' ? gate.promise : patient(request)),
    {
      deadlines: { defaultMs: 20, methods: { wait: 0 } },
    },
  );
  const client = await bench.connect(server);
  const waiting = client.invoke('wait', null);
  await expect(client.invoke('other', null)).rejects.toMatchObject({ remoteName: 'TimeoutError' });
  gate.resolve('done');
  await expect(waiting).resolves.toBe('done');
});

test('the time that a call waits for its turn counts, and it never runs', async () => {
  const gate = deferred<null>();
  const started: string[] = [];
  const server = await bench.bind(
    async ({ method }) => {
      started.push(method);
      await gate.promise;
      return method;
    },
    { limits: { maxRunning: 1 }, deadlines: { methods: { second: 20 } } },
  );
  const client = await bench.connect(server);
  const first = client.invoke('first', null);
  await expect(client.invoke('second', null)).rejects.toMatchObject({ remoteName: 'TimeoutError' });
  gate.resolve(null);
  await expect(first).resolves.toBe('first');
  await expect(client.invoke('third', null)).resolves.toBe('third');
  expect(started).toEqual(['first', 'third']);
});

test('a call within its deadline leaves no timer behind', async () => {
  const server = await bench.bind(echo, { deadlines: { defaultMs: 3_600_000 } });
  const client = await bench.connect(server);
  await client.invoke('echo', 1);
  // What `process.getActiveResourcesInfo` counts as Timeout keeps a process alive.
  const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  for (let i = 0; i < 50; i++) await client.invoke('echo', i);
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(
    timers + 25,
  );
});

test('a deadline that is no delay is refused when binding', async () => {
  await expect(bench.bind(echo, { deadlines: { methods: { execute: -1 } } })).rejects.toMatchObject({
    code: 'ARGS_INVALID_VALUE',
    message: expect.stringContaining('execute'),
  });
});
