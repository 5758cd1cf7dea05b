import { connect as connectTcp } from 'node:net';
import { createRequestId, encodeMessage } from '../../../src/callosum/wire/message.js';
import { compress } from '../../../src/callosum/wire/snappy.js';
import { deferred } from '../../../src/core/async.js';
import { msgpack, RecordedMetrics } from '../../support/callosum.js';
import {
  echo,
  PeerBench,
  receiveMessage,
  receiveUntilPong,
  sendMessage,
} from '../../support/callosum-peers.js';

const bench = new PeerBench();
let metrics: RecordedMetrics;
beforeEach(() => {
  metrics = new RecordedMetrics();
});
afterEach(() => bench.close());

const refusedBy = (limit: string) => metrics.value('callosum_calls_refused_total', { limit });

describe('bytes in flight', () => {
  test('of one caller are bounded, others go on, and they come back', async () => {
    const gate = deferred<null>();
    const server = await bench.bind(() => gate.promise, {
      limits: { maxInFlightBytesPerPeer: 1000 },
      metrics,
    });
    const client = await bench.connect(server);
    const running = client.invoke('wait', 'x'.repeat(800));
    await expect(client.invoke('wait', 'x'.repeat(800))).rejects.toMatchObject({
      remoteRepr: "LimitExceededError('more than 1000 bytes of calls in flight from one peer')",
    });
    const other = (await bench.connect(server)).invoke('wait', 'x'.repeat(800));
    gate.resolve(null);
    await Promise.all([running, other]);
    await expect(client.invoke('wait', 'x'.repeat(800))).resolves.toBeNull();
    expect(refusedBy('maxInFlightBytesPerPeer')).toBe(1);
  });

  test('of all callers are bounded', async () => {
    const gate = deferred<null>();
    const server = await bench.bind(() => gate.promise, { limits: { maxInFlightBytes: 1000 }, metrics });
    const running = (await bench.connect(server)).invoke('wait', 'x'.repeat(800));
    const other = await bench.connect(server);
    await expect(other.invoke('wait', 'x'.repeat(800))).rejects.toMatchObject({
      remoteName: 'LimitExceededError',
    });
    gate.resolve(null);
    await running;
    expect(refusedBy('maxInFlightBytes')).toBe(1);
  });
});

test('no more handlers run at once than allowed; the others wait and are answered', async () => {
  let running = 0;
  let most = 0;
  const server = await bench.bind(
    async (call) => {
      most = Math.max(most, (running += 1));
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return call.body;
    },
    { limits: { maxRunning: 3 } },
  );
  const client = await bench.connect(server);
  const results = await Promise.all(Array.from({ length: 100 }, (_, i) => client.invoke('echo', i)));
  expect(results).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(most).toBe(3);
});

describe('message size', () => {
  const large = {
    type: 'FUNCTION',
    id: createRequestId('echo', '', 0),
    payload: msgpack.pack('x'.repeat(1500)),
  } as const;

  test('above the limit is refused by name', async () => {
    const server = await bench.bind(echo, { limits: { maxMessageBytes: 1000 }, metrics });
    const socket = bench.dealer(server);
    await sendMessage(socket, large);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'ERROR',
      description: { name: 'LimitExceededError' },
    });
    await expect((await bench.connect(server)).invoke('echo', 1)).resolves.toBe(1);
    expect(refusedBy('maxMessageBytes')).toBe(1);
  });

  test('above twice the limit ends its connection and no other', async () => {
    const server = await bench.bind(echo, { limits: { maxMessageBytes: 1000 }, metrics });
    const bystander = await bench.connect(server);
    const socket = bench.dealer(server, { reconnectInterval: -1 });
    const labels = { endpoint: server.endpoint };
    await receiveUntilPong(socket);
    await metrics.until('callosum_connections', labels, (open) => open === 2);
    await socket.send(['UPPER', Buffer.alloc(2001), '']);
    await metrics.until('callosum_connections', labels, (open) => open === 1);
    await expect(bystander.invoke('echo', 1)).resolves.toBe(1);
  });

  test('counts after decompression, and before anything is decompressed', async () => {
    const server = await bench.bind(echo, { limits: { maxMessageBytes: 10_000 } });
    const socket = bench.dealer(server);
    const payload = msgpack.pack('x'.repeat(100_000));
    const { header, body } = encodeMessage({ ...large, payload }, { compress: true });
    expect(body.length).toBeLessThan(10_000);
    await socket.send(['UPPER', header, body]);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'ERROR',
      description: { name: 'LimitExceededError' },
    });
    // Four gigabytes, says the block.
    await socket.send(['UPPER', header, Buffer.from('ffffffff0f00', 'hex')]);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      description: { name: 'LimitExceededError' },
    });
  });

  test('bounds results too', async () => {
    const server = await bench.bind(() => Promise.resolve('x'.repeat(1000)), {
      limits: { maxMessageBytes: 1000 },
    });
    await expect((await bench.connect(server)).invoke('logs', null)).rejects.toMatchObject({
      code: 'REMOTE_FAILURE',
      remoteName: 'LimitExceededError',
      remoteRepr: expect.stringContaining('ask for less'),
    });
  });
});

describe('compression', () => {
  const text = 'the quick brown fox '.repeat(500);

  test('is understood, and not used unless asked for', async () => {
    const server = await bench.bind(echo);
    const socket = bench.dealer(server);
    const id = createRequestId('echo', '', 0);
    const { header, body } = encodeMessage(
      { type: 'FUNCTION', id, payload: msgpack.pack(text) },
      { compress: true },
    );
    expect(body.length).toBeLessThan(text.length / 4);
    await socket.send(['UPPER', header, body]);
    const [, , reply] = await socket.receive();
    expect(reply?.length).toBeGreaterThan(text.length);
  });

  test('of replies, as an option, leaves small ones as they are', async () => {
    const server = await bench.bind(echo, { compress: true });
    const client = await bench.connect(server, { compress: true });
    await expect(client.invoke('echo', text)).resolves.toBe(text);
    await expect(client.invoke('echo', 'short')).resolves.toBe('short');
    const socket = bench.dealer(server);
    const id = createRequestId('echo', '', 0);
    await sendMessage(socket, { type: 'FUNCTION', id, payload: msgpack.pack(text) });
    const [, , reply] = await socket.receive();
    expect(reply?.length).toBeLessThan(text.length / 4);
  });

  test('that is no valid block is refused, and the next call is answered', async () => {
    const socket = bench.dealer(await bench.bind(echo));
    const id = createRequestId('echo', '', 0);
    const zipped = encodeMessage({ type: 'FUNCTION', id, payload: msgpack.pack(text) }, { compress: true });
    const blocks = ['10fcf0ffffff00000000', '0500610100', 'ff060000734e61507059'].map((hex) =>
      Buffer.from(hex, 'hex'),
    );
    for (const block of [...blocks, compress(Buffer.from('no map'))]) {
      await socket.send(['UPPER', zipped.header, block]);
      await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'ERROR' });
    }
    await sendMessage(socket, { type: 'FUNCTION', id, payload: Buffer.of(1) });
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
  });
});

describe('a peer that never reads', () => {
  test('costs its own queue and no more, and the others nothing', async () => {
    const limits = { maxQueuedBytesPerPeer: 4 << 20, maxInFlightPerPeer: 100_000, maxInFlight: 100_000 };
    const server = await bench.bind(() => Promise.resolve(Buffer.alloc(64 * 1024, 1)), { limits, metrics });
    const labels = { endpoint: server.endpoint };
    const bystander = await bench.connect(server);
    const deaf = bench.dealer(server, { receiveHighWaterMark: 1, receiveBufferSize: 4096 });
    let mostBytes = 0;
    const flood = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const id = createRequestId('give', '', i);
        await sendMessage(deaf, { type: 'FUNCTION', id, payload: Buffer.of(0xc0) });
        mostBytes = Math.max(mostBytes, metrics.value('callosum_queued_bytes', labels));
      }
      await bystander.invoke('give', null);
    };
    await flood(1000);
    await metrics.until('callosum_replies_dropped_total', { reason: 'queue-full' }, (count) => count > 0);
    const before = process.memoryUsage().rss;
    await flood(10_000);
    // Kept, these replies would be 640 MiB.
    expect(process.memoryUsage().rss - before).toBeLessThan(300 << 20);
    expect(mostBytes).toBeLessThanOrEqual(limits.maxQueuedBytesPerPeer);
    expect(mostBytes).toBeGreaterThan(limits.maxQueuedBytesPerPeer / 2);
    deaf.close();
    await metrics.until('callosum_queued_bytes', labels, (bytes) => bytes === 0);
  });

  test('whose queue has no room for its result is told so once there is room for that', async () => {
    const server = await bench.bind(
      ({ method }) => Promise.resolve(Buffer.alloc(method === 'large' ? 900_000 : 10)),
      {
        limits: { maxQueuedBytesPerPeer: 1_000_000 },
      },
    );
    const slow = bench.dealer(server, { receiveHighWaterMark: 1, receiveBufferSize: 4096 });
    for (let i = 0; i < 200; i++)
      await sendMessage(slow, {
        type: 'FUNCTION',
        id: createRequestId('large', '', i),
        payload: Buffer.of(0xc0),
      });
    await (await bench.connect(server)).invoke('small', null);
    const seen = new Map<string, number>();
    for (let i = 0; i < 200; i++) {
      const { type } = await receiveMessage(slow);
      seen.set(type, (seen.get(type) ?? 0) + 1);
    }
    expect(seen.get('FAILURE')).toBeGreaterThan(0);
    expect((seen.get('RESULT') ?? 0) + (seen.get('FAILURE') ?? 0)).toBe(200);
  });
});

describe('connections', () => {
  test('above the bound are refused their calls by name until others have gone', async () => {
    const server = await bench.bind(echo, { limits: { maxConnections: 2 }, metrics });
    const labels = { endpoint: server.endpoint };
    const [first, second] = [await bench.connect(server), await bench.connect(server)];
    await expect(first.invoke('echo', 1)).resolves.toBe(1);
    await expect(second.invoke('echo', 2)).resolves.toBe(2);
    const third = await bench.connect(server);
    await metrics.until('callosum_connections', labels, (open) => open === 3);
    await expect(third.invoke('echo', 3)).rejects.toMatchObject({
      remoteRepr: expect.stringContaining("LimitExceededError('more than 2 connections"),
    });
    await expect(first.invoke('echo', 1)).resolves.toBe(1);
    expect(refusedBy('maxConnections')).toBe(1);
    await second.close();
    await metrics.until('callosum_connections', labels, (open) => open === 2);
    await expect(third.invoke('echo', 3)).resolves.toBe(3);
  });

  test('that do not get through the handshake in time are closed and counted', async () => {
    const server = await bench.bind(echo, { limits: { maxHandshakeMs: 100 }, metrics });
    const mute = connectTcp(Number(server.endpoint.split(':').at(-1)), '127.0.0.1');
    await new Promise((resolve) => mute.resume().once('close', resolve));
    await metrics.until('callosum_handshake_failures_total', { reason: 'other' }, (count) => count === 1);
    await metrics.until('callosum_connections', { endpoint: server.endpoint }, (open) => open === 0);
    await expect((await bench.connect(server)).invoke('echo', 1)).resolves.toBe(1);
  });
});
