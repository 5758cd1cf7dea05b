import { Push } from 'zeromq';
import {
  Consumer,
  Distributor,
  generateKeyPair,
  Publisher,
  Subscriber,
} from '../../../src/callosum/index.js';
import type { PublishedMessage } from '../../../src/callosum/index.js';
import { deferred } from '../../../src/core/async.js';
import { msgpack, RecordedMetrics } from '../../support/callosum.js';

const opened: { close(): unknown }[] = [];
function add<Part extends { close(): unknown }>(part: Part): Part {
  opened.push(part);
  return part;
}
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

const here = { address: 'tcp://127.0.0.1:0', serializer: msgpack } as const;

/** A handler, and a promise for when it has had so many messages. */
function collect(count: number) {
  const messages: PublishedMessage[] = [];
  const enough = deferred<readonly PublishedMessage[]>();
  const handler = (message: PublishedMessage) => {
    messages.push(message);
    if (messages.length === count) enough.resolve(messages);
    return Promise.resolve();
  };
  return { messages, handler, enough: enough.promise };
}

/** A subscriber gets nothing from before its connection is up, so the publisher speaks until it is heard. */
async function publishUntil(publisher: Publisher, body: unknown, heard: Promise<unknown>): Promise<void> {
  const turn = () => new Promise<'not yet'>((resolve) => setImmediate(resolve, 'not yet'));
  do await publisher.publish(body);
  while ((await Promise.race([heard, turn()])) === 'not yet');
}

describe('broadcast', () => {
  test('reaches every subscriber, with the time of creation', async () => {
    const publisher = add(await Publisher.bind(here));
    const one = collect(1);
    const two = collect(1);
    for (const { handler } of [one, two])
      add(Subscriber.connect({ address: publisher.endpoint, serializer: msgpack, handler }));
    const before = Date.now() * 1000;
    await publishUntil(publisher, { hello: 1 }, Promise.all([one.enough, two.enough]));
    for (const { enough } of [one, two]) {
      const [message] = await enough;
      expect(message?.body).toEqual({ hello: 1 });
      expect(message?.createdAtUs).toBeGreaterThanOrEqual(before);
    }
  });

  test('goes nowhere while nobody listens, and does not wait', async () => {
    const publisher = add(await Publisher.bind(here));
    for (let i = 0; i < 2000; i++) await publisher.publish(i);
  });

  test('over CURVE lets in whose key is accepted', async () => {
    const server = generateKeyPair();
    const client = generateKeyPair();
    const metrics = new RecordedMetrics();
    const curve = { secretKey: server.secretKey, acceptedKeys: new Set([client.publicKey]) };
    const publisher = add(await Publisher.bind({ ...here, curve, metrics }));
    const heard = collect(1);
    const stranger = collect(1);
    for (const [keys, { handler }] of [
      [generateKeyPair(), stranger],
      [client, heard],
    ] as const)
      add(
        Subscriber.connect({
          address: publisher.endpoint,
          serializer: msgpack,
          handler,
          curve: { ...keys, serverPublicKey: server.publicKey },
        }),
      );
    await metrics.until('callosum_handshake_failures_total', { reason: 'auth' }, (count) => count > 0);
    await publishUntil(publisher, 'secret', heard.enough);
    expect(stranger.messages).toEqual([]);
  });
});

describe('distribution', () => {
  test('hands each message to exactly one consumer, in order', async () => {
    const distributor = add(await Distributor.bind(here));
    const all = collect(200);
    const perConsumer: unknown[][] = [[], []];
    for (const seen of perConsumer)
      add(
        Consumer.connect({
          address: distributor.endpoint,
          serializer: msgpack,
          handler: (message) => {
            seen.push(message.body);
            return all.handler(message);
          },
        }),
      );
    for (let i = 0; i < 200; i++) await distributor.publish(i);
    const bodies = (await all.enough).map(({ body }) => body as number);
    expect([...bodies].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    for (const seen of perConsumer) expect(seen).toEqual([...seen].sort((a, b) => Number(a) - Number(b)));
  });

  test('waits for a consumer in a bounded queue', async () => {
    const distributor = add(await Distributor.bind({ ...here, limits: { maxQueuedPerPeer: 2 } }));
    const waiting = [distributor.publish(1), distributor.publish(2)];
    await expect(distributor.publish(3)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    const all = collect(2);
    add(Consumer.connect({ address: distributor.endpoint, serializer: msgpack, handler: all.handler }));
    await Promise.all(waiting);
    expect((await all.enough).map(({ body }) => body)).toEqual([1, 2]);
  });

  test('a consumer runs no more handlers at once than it may, and what they throw ends nothing', async () => {
    const distributor = add(await Distributor.bind(here));
    const metrics = new RecordedMetrics();
    let running = 0;
    let most = 0;
    add(
      Consumer.connect({
        address: distributor.endpoint,
        serializer: msgpack,
        maxConcurrency: 3,
        metrics,
        handler: async ({ body }) => {
          most = Math.max(most, (running += 1));
          await new Promise((resolve) => setImmediate(resolve));
          running -= 1;
          if (Number(body) % 2 === 1) throw new Error('odd');
        },
      }),
    );
    for (let i = 0; i < 100; i++) await distributor.publish(i);
    await metrics.until('callosum_messages_received_total', { type: 'STREAM' }, (count) => count === 50);
    await metrics.until('callosum_stream_failures_total', {}, (count) => count === 50);
    expect(most).toBe(3);
  });

  test('closing waits for the handlers that run', async () => {
    const distributor = add(await Distributor.bind(here));
    const gate = deferred<null>();
    const started = deferred<null>();
    let ended = false;
    const consumer = Consumer.connect({
      address: distributor.endpoint,
      serializer: msgpack,
      handler: async () => {
        started.resolve(null);
        await gate.promise;
        ended = true;
      },
    });
    await distributor.publish(1);
    await started.promise;
    const closing = consumer.close();
    gate.resolve(null);
    await closing;
    expect(ended).toBe(true);
  });
});

test('what is no stream message is counted, and the next one is handled', async () => {
  const source = add(new Push({ linger: 0 }));
  await source.bind('tcp://127.0.0.1:*');
  const metrics = new RecordedMetrics();
  const all = collect(1);
  add(
    Consumer.connect({
      address: source.lastEndpoint ?? '',
      serializer: msgpack,
      handler: all.handler,
      metrics,
      limits: { maxMessageBytes: 100 },
    }),
  );
  const header = Buffer.from('91c409ebf4d09348e3c48100', 'hex');
  await source.send(['UPPER', header]);
  await source.send(['UPPER', 'x', 'y']);
  await source.send(['UPPER', header, Buffer.of(1, 2)]);
  await source.send(['UPPER', header, Buffer.alloc(150)]);
  await source.send(['UPPER', header, msgpack.pack('good')]);
  expect((await all.enough)[0]).toMatchObject({ body: 'good', createdAtUs: 1_762_162_867_123_456 });
  for (const reason of ['frames', 'header', 'payload', 'payload-too-large'])
    expect(metrics.value('callosum_messages_malformed_total', { reason: `stream-${reason}` })).toBe(1);
});

test('a message that is too large is refused before it is sent', async () => {
  const publisher = add(await Publisher.bind({ ...here, limits: { maxMessageBytes: 10 } }));
  await expect(publisher.publish('x'.repeat(11))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

test('a closed stream takes nothing more, and closing again is in order', async () => {
  const publisher = await Publisher.bind(here);
  await publisher.close();
  await publisher.close();
  await expect(publisher.publish(1)).rejects.toMatchObject({ code: 'PEER_CLOSED' });
});
