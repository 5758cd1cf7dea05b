import { Dealer, Router } from 'zeromq';
import { deferred } from '../../../src/core/async.js';
import { Peer, UnknownMethodError } from '../../../src/callosum/index.js';
import type { BindOptions, ConnectOptions, IncomingCall } from '../../../src/callosum/index.js';
import { createRequestId, decodeMessage, encodeMessage } from '../../../src/callosum/wire/message.js';
import type { Message } from '../../../src/callosum/wire/message.js';
import { msgpack, RecordedMetrics } from '../../support/callosum.js';

const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

async function bind(handler: BindOptions['handler'], options: Partial<BindOptions> = {}): Promise<Peer> {
  const peer = await Peer.bind({ address: 'tcp://127.0.0.1:0', serializer: msgpack, handler, ...options });
  opened.push(peer);
  return peer;
}

async function connect(server: Peer, options: Partial<ConnectOptions> = {}): Promise<Peer> {
  const handshakeTimeoutMs = 20_000;
  const peer = await Peer.connect({
    address: server.endpoint,
    serializer: msgpack,
    handshakeTimeoutMs,
    ...options,
  });
  opened.push(peer);
  return peer;
}

function dealer(server: Peer): Dealer {
  const socket = new Dealer({ linger: 0, receiveTimeout: 20_000 });
  opened.push(socket);
  socket.connect(server.endpoint);
  return socket;
}

async function receiveMessage(socket: Dealer): Promise<Message> {
  const [type, header, body] = await socket.receive();
  expect(type?.toString()).toBe('UPPER');
  const decoded = decodeMessage(header ?? Buffer.alloc(0), body ?? Buffer.alloc(0), {
    maxBodyBytes: 1 << 20,
  });
  if (!decoded.ok) throw new Error(decoded.fault);
  return decoded.message;
}

const echo = (call: IncomingCall) => Promise.resolve(call.body);
/** Never ends by itself; gives in when its signal aborts. */
const patient = ({ signal }: IncomingCall) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });

describe('a call', () => {
  test('arrives with method, body and peer, and returns what the handler returns', async () => {
    const server = await bind((call) =>
      Promise.resolve({ method: call.method, body: call.body, peer: call.peer }),
    );
    const client = await connect(server);
    const result = await client.invoke('greet', { args: ['x'], kwargs: {} });
    expect(result).toEqual({
      method: 'greet',
      body: { args: ['x'], kwargs: {} },
      peer: expect.stringMatching(/^00[0-9a-f]{8}$/),
    });
  });

  test.each(['text', 'binary', new Uint8Array([1, 2])] as const)(
    'is matched with order key %p',
    async (orderKey) => {
      const client = await connect(await bind(echo));
      await expect(client.invoke('echo', 1, { orderKey })).resolves.toBe(1);
    },
  );

  test('of many at once each gets its own result', async () => {
    const client = await connect(await bind(echo));
    const results = await Promise.all(Array.from({ length: 500 }, (_, i) => client.invoke('echo', i)));
    expect(results).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  test('may be served by a connected peer for a bound one', async () => {
    const known = deferred<string>();
    const server = await bind((call) => {
      known.resolve(call.peer);
      return Promise.resolve(null);
    });
    const client = await connect(server, { handler: echo });
    await client.invoke('hello', null);
    await expect(server.invoke('echo', 41, { peer: await known.promise })).resolves.toBe(41);
    await expect(server.invoke('echo', 41)).rejects.toMatchObject({ code: 'ARGS_INVALID_VALUE' });
  });

  test('carries a body of many megabytes', async () => {
    const client = await connect(await bind(echo));
    const bytes = Buffer.alloc(8 * 1024 * 1024, 7);
    const result = (await client.invoke('echo', bytes)) as Uint8Array;
    expect(bytes.equals(result)).toBe(true);
  });
});

describe('a call that fails', () => {
  test('in its handler is a RemoteUserError with name, repr and a traceback without paths', async () => {
    const client = await connect(await bind(() => Promise.reject(new RangeError('no such slot'))));
    await expect(client.invoke('boom', null)).rejects.toMatchObject({
      code: 'REMOTE_FAILURE',
      remoteName: 'ValueError',
      remoteRepr: "ValueError('no such slot')",
      remoteTraceback: 'Traceback (most recent call last):\nValueError: no such slot\n',
    });
  });

  test('when its handler throws before it returns a promise', async () => {
    const client = await connect(
      await bind(() => {
        throw new RangeError('at once');
      }),
    );
    await expect(client.invoke('boom', null)).rejects.toMatchObject({ code: 'REMOTE_FAILURE' });
  });

  test('for want of the method is a RemoteInternalError, and the next call is served', async () => {
    const client = await connect(
      await bind((call) =>
        call.method === 'echo' ? echo(call) : Promise.reject(new UnknownMethodError(call.method)),
      ),
    );
    await expect(client.invoke('nope', null)).rejects.toMatchObject({
      code: 'REMOTE_ERROR',
      remoteName: 'KeyError',
      remoteRepr: "KeyError('nope')",
    });
    await expect(client.invoke('echo', 1)).resolves.toBe(1);
  });

  test('because its result has no encoding is a FAILURE', async () => {
    const client = await connect(await bind(() => Promise.resolve(() => undefined)));
    await expect(client.invoke('f', null)).rejects.toMatchObject({
      code: 'REMOTE_FAILURE',
      remoteName: 'TypeError',
    });
  });

  test('because too many run is a FAILURE named LimitExceededError, and slots come back', async () => {
    const gate = deferred<null>();
    const server = await bind(() => gate.promise, { limits: { maxInFlightPerPeer: 2 } });
    const client = await connect(server);
    const running = [client.invoke('wait', null), client.invoke('wait', null)];
    await expect(client.invoke('wait', null)).rejects.toMatchObject({ remoteName: 'LimitExceededError' });
    const other = await connect(server);
    running.push(other.invoke('wait', null));
    gate.resolve(null);
    await Promise.all(running);
    await expect(client.invoke('wait', null)).resolves.toBeNull();
    expect(server.inFlight).toBe(0);
  });

  test('because all slots of the server are taken says so', async () => {
    const server = await bind(patient, { limits: { maxInFlight: 1 } });
    const client = await connect(server);
    const running = client.invoke('wait', null).catch((error: unknown) => error);
    const refused = await connect(server).then((other) =>
      other.invoke('wait', null).catch((e: unknown) => e),
    );
    expect(refused).toMatchObject({ remoteRepr: "LimitExceededError('more than 1 calls in flight')" });
    await server.close();
    await expect(running).resolves.toMatchObject({ remoteName: 'PeerClosedError' });
  });
});

describe('cancelling', () => {
  test('by a time limit aborts the handler and frees its slot', async () => {
    const aborted = deferred<unknown>();
    const server = await bind((call) => {
      call.signal.addEventListener('abort', () => {
        aborted.resolve(call.signal.reason);
      });
      return patient(call);
    });
    const client = await connect(server);
    await expect(client.invoke('slow', null, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(aborted.promise).resolves.toMatchObject({ code: 'CANCELLED' });
    await expect(client.invoke('slow', null, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test('by a signal rejects with CancelledError', async () => {
    const client = await connect(await bind(patient));
    const controller = new AbortController();
    const call = client.invoke('slow', null, { signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(client.invoke('slow', null, { signal: controller.signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });

  test('is answered with CANCELLED once', async () => {
    const socket = dealer(await bind(patient));
    const id = createRequestId('slow', '', 13);
    await send(socket, { type: 'FUNCTION', id, payload: Buffer.of(0xc0) });
    await send(socket, { type: 'CANCEL', id });
    await send(socket, { type: 'CANCEL', id });
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'CANCELLED' });
    await expectPong(socket);
  });

  test('one of two running calls leaves the other, whichever finishes first', async () => {
    const gates = new Map([1, 2, 3].map((n) => [n, deferred<null>()]));
    const server = await bind((call) =>
      Promise.race([patient(call), gates.get(call.body as number)?.promise ?? Promise.resolve(null)]),
    );
    const socket = dealer(server);
    const ids = [1, 2, 3].map((n) => createRequestId('m', '', n));
    for (const [i, id] of ids.entries())
      await send(socket, { type: 'FUNCTION', id, payload: Buffer.of(i + 1) });
    // The original loses the newest entry when another call finishes first.
    gates.get(1)?.resolve(null);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'RESULT',
      id: { rawSequence: Buffer.of(1) },
    });
    await send(socket, { type: 'CANCEL', id: createRequestId('m', '', 3) });
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'CANCELLED',
      id: { rawSequence: Buffer.of(3) },
    });
    gates.get(2)?.resolve(null);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'RESULT',
      id: { rawSequence: Buffer.of(2) },
    });
  });

  test('a handler that fails for its own reason after CANCEL is answered with FAILURE', async () => {
    const server = await bind(
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(new RangeError('own reason'));
          });
        }),
    );
    const socket = dealer(server);
    const id = createRequestId('slow', '', 1);
    await send(socket, { type: 'FUNCTION', id, payload: Buffer.of(0xc0) });
    await send(socket, { type: 'CANCEL', id });
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'FAILURE',
      description: { name: 'ValueError' },
    });
  });

  test('a cancellation nobody asked for is a FAILURE, not CANCELLED', async () => {
    const client = await connect(
      await bind(() =>
        Promise.reject(Object.assign(new Error('x'), { name: 'AbortError', code: 'ABORT_ERR' })),
      ),
    );
    await expect(client.invoke('m', null)).rejects.toMatchObject({ remoteName: 'CancelledError' });
  });
});

describe('the key-serialized scheduler', () => {
  test('runs calls of one key in order, across clients, and other keys beside them', async () => {
    const gate = deferred<null>();
    const order: unknown[] = [];
    const server = await bind(
      async (call) => {
        order.push(call.body);
        if (call.body === 'first') await gate.promise;
        return call.body;
      },
      { scheduler: 'key-serialized' },
    );
    const [a, b] = [await connect(server), await connect(server)];
    const key = Buffer.from('k');
    const first = a.invoke('m', 'first', { orderKey: key });
    await a.invoke('m', 'other key', { orderKey: Buffer.from('o') });
    const second = b.invoke('m', 'second', { orderKey: key });
    await b.invoke('m', 'other key', { orderKey: 'text' });
    expect(order).toEqual(['first', 'other key', 'other key']);
    gate.resolve(null);
    await Promise.all([first, second]);
    expect(order.at(-1)).toBe('second');
  });

  test('a call cancelled while it waits is answered at once and never runs', async () => {
    const gate = deferred<null>();
    const started: unknown[] = [];
    const server = await bind(
      async (call) => {
        started.push(call.body);
        await gate.promise;
        return call.body;
      },
      { scheduler: 'key-serialized' },
    );
    const socket = dealer(server);
    const [first, second] = [createRequestId('m', 'k', 1), createRequestId('m', 'k', 2)];
    await send(socket, { type: 'FUNCTION', id: first, payload: Buffer.of(1) });
    await send(socket, { type: 'FUNCTION', id: second, payload: Buffer.of(2) });
    await send(socket, { type: 'CANCEL', id: second });
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'CANCELLED' });
    gate.resolve(null);
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
    expect(started).toEqual([1]);
  });
});

describe('closing', () => {
  test('lets running calls finish, refuses new ones with a reply, and is idempotent', async () => {
    const gate = deferred<string>();
    const arrived = deferred<null>();
    const server = await bind(() => {
      arrived.resolve(null);
      return gate.promise;
    });
    const client = await connect(server);
    const running = client.invoke('slow', null);
    await arrived.promise;
    const closing = server.close({ drainMs: 10_000 });
    await expect(client.invoke('late', null)).rejects.toMatchObject({ remoteName: 'PeerClosedError' });
    gate.resolve('done');
    await expect(running).resolves.toBe('done');
    expect(server.close()).toBe(closing);
    await closing;
  });

  test('answers calls that outlast the drain, and aborts their signal', async () => {
    const reason = deferred<unknown>();
    const server = await bind(({ method, signal }) => {
      if (method === 'probe') return Promise.resolve(null);
      signal.addEventListener('abort', () => {
        reason.resolve(signal.reason);
      });
      return new Promise(() => undefined);
    });
    const client = await connect(server);
    const stuck = client.invoke('stuck', null).catch((error: unknown) => error);
    await client.invoke('probe', null);
    await server.close({ drainMs: 20 });
    await expect(stuck).resolves.toMatchObject({ remoteName: 'PeerClosedError' });
    await expect(reason.promise).resolves.toMatchObject({ code: 'PEER_CLOSED' });
  });

  test('frees the port before it resolves', async () => {
    const first = await bind(echo);
    await first.close();
    const second = await bind(echo, { address: first.endpoint });
    expect(second.endpoint).toBe(first.endpoint);
    await expect((await connect(second)).invoke('echo', 1)).resolves.toBe(1);
  });

  test('a client rejects what waits and what comes later', async () => {
    const client = await connect(await bind(patient));
    const waiting = client.invoke('slow', null);
    await client.close();
    await expect(waiting).rejects.toMatchObject({ code: 'PEER_CLOSED' });
    await expect(client.invoke('echo', 1)).rejects.toMatchObject({ code: 'PEER_CLOSED' });
  });
});

describe('binding and connecting', () => {
  test('an address in use is refused', async () => {
    const server = await bind(echo);
    await expect(bind(echo, { address: server.endpoint })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test('nobody listening is a HandshakeError that says so', async () => {
    const connecting = Peer.connect({
      address: 'tcp://127.0.0.1:1',
      serializer: msgpack,
      handshakeTimeoutMs: 200,
    });
    await expect(connecting).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
      message: 'tcp://127.0.0.1:1: no PONG within 200 ms: nobody answers at this address',
    });
  });

  test('a listener that does not answer PING is a HandshakeError', async () => {
    const mute = new Router({ linger: 0 });
    opened.push(mute);
    await mute.bind('tcp://127.0.0.1:*');
    const connecting = Peer.connect({
      address: mute.lastEndpoint ?? '',
      serializer: msgpack,
      handshakeTimeoutMs: 5000,
    });
    await expect(connecting).rejects.toMatchObject({ message: expect.stringContaining('does not answer') });
  });

  test('a malformed address is a HandshakeError that names it', async () => {
    await expect(Peer.connect({ address: 'nowhere', serializer: msgpack })).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
      message: expect.stringContaining('nowhere'),
    });
  });

  test('connecting stops when its signal aborts', async () => {
    const controller = new AbortController();
    const connecting = Peer.connect({
      address: 'tcp://127.0.0.1:1',
      serializer: msgpack,
      signal: controller.signal,
    });
    controller.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('garbage', () => {
  const good = { type: 'FUNCTION', id: createRequestId('echo', '', 99), payload: Buffer.of(1) } as const;

  test.each([
    ['one frame', ['PING'], 'too-few-frames'],
    ['two frames', ['PING', ''], 'unknown-frame-type'],
    ['an unknown type', ['LOWER', '', ''], 'unknown-frame-type'],
    ['a PONG', ['PONG', '', ''], 'unexpected-pong'],
    ['an empty header', ['UPPER', '', ''], 'header-not-msgpack'],
    ['random bytes', ['UPPER', Buffer.of(0xc1, 0xff), 'xyz'], 'header-not-msgpack'],
    ['a huge announced map', ['UPPER', Buffer.of(0xdf, 0xff, 0xff, 0xff, 0xff), ''], 'header-not-msgpack'],
    ['a header that is too large', ['UPPER', Buffer.alloc(70_000), ''], 'header-too-large'],
  ] as const)('%s is counted and the next call is answered', async (_what, frames, reason) => {
    const metrics = new RecordedMetrics();
    const socket = dealer(await bind(echo, { metrics }));
    await socket.send([...frames]);
    await send(socket, good);
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
    expect(metrics.value('callosum_messages_malformed_total', { reason })).toBe(1);
  });

  test('an unreadable body with a readable header is answered with ERROR', async () => {
    const socket = dealer(await bind(echo));
    const { header } = encodeMessage(good);
    await socket.send(['UPPER', header, 'garbage']);
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'ERROR',
      id: { method: 'echo', rawSequence: good.id.rawSequence },
      description: { name: 'ValueError' },
    });
    await send(socket, good);
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
  });

  test.each([
    ['empty', Buffer.alloc(0)],
    ['with a trailing byte', Buffer.of(1, 2)],
    ['truncated', Buffer.of(0x93, 1)],
  ])('a payload that is %s is answered with ERROR', async (_what, payload) => {
    const socket = dealer(await bind(echo));
    await send(socket, { ...good, payload });
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'ERROR',
      description: { name: 'ValueError' },
    });
    await send(socket, good);
    await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
  });

  test('every single flipped byte and every truncation leaves the server answering', async () => {
    const socket = dealer(await bind(echo));
    const { header, body } = encodeMessage(good);
    for (const [index, frame] of [header, body].entries())
      for (let at = 0; at < frame.length; at++) {
        const flipped = Buffer.from(frame);
        flipped[at] = (flipped[at] ?? 0) ^ 0xff;
        for (const bad of [flipped, frame.subarray(0, at)])
          await socket.send(index === 0 ? ['UPPER', bad, body] : ['UPPER', header, bad]);
      }
    await expectPong(socket);
  });

  test('a message above the size limit costs its sender the connection and nobody else', async () => {
    const server = await bind(echo, { limits: { maxMessageBytes: 1000 } });
    const bystander = await connect(server);
    const socket = dealer(server);
    await socket.send(['UPPER', Buffer.alloc(2001), '']);
    await expect(bystander.invoke('echo', 1)).resolves.toBe(1);
  });

  test('a caller that goes away while its call runs is forgotten', async () => {
    const gate = deferred<null>();
    const arrived = deferred<null>();
    const metrics = new RecordedMetrics();
    const server = await bind(
      (call) => {
        if (call.method !== 'wait') return echo(call);
        arrived.resolve(null);
        return gate.promise;
      },
      { metrics },
    );
    const socket = dealer(server);
    await send(socket, { ...good, id: createRequestId('wait', '', 0) });
    await arrived.promise;
    socket.close();
    const client = await connect(server);
    await client.invoke('echo', 1);
    gate.resolve(null);
    await client.invoke('echo', 1);
    await server.close({ drainMs: 1000 });
    expect(server.inFlight).toBe(0);
  });

  test('a caller that does not read its replies holds up nobody', async () => {
    const server = await bind(echo, { limits: { maxQueuedPerPeer: 4, maxInFlightPerPeer: 100_000 } });
    const deaf = new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveBufferSize: 4096 });
    opened.push(deaf);
    deaf.connect(server.endpoint);
    const large = encodeMessage({ ...good, payload: msgpack.pack('x'.repeat(20_000)) });
    for (let i = 0; i < 2000; i++) await deaf.send(['UPPER', large.header, large.body]);
    const client = await connect(server);
    await expect(client.invoke('echo', 1)).resolves.toBe(1);
  });
});

describe('PING', () => {
  test('is answered with its payload and its envelope unchanged', async () => {
    const socket = dealer(await bind(echo));
    await socket.send(['x', 'PING', Buffer.of(1, 2), 'abc']);
    const reply = await socket.receive();
    expect(reply.map((frame) => frame.toString('hex'))).toEqual(['78', '504f4e47', '0102', '616263']);
  });
});

async function send(socket: Dealer, message: Message): Promise<void> {
  const { header, body } = encodeMessage(message);
  await socket.send(['UPPER', header, body]);
}

/** All replies that are still to come are of garbage; then the server answers PING. */
async function expectPong(socket: Dealer): Promise<void> {
  await socket.send(['PING', '', 'sentinel']);
  for (;;) {
    const [type, , body] = await socket.receive();
    if (type?.toString() !== 'PONG') continue;
    expect(body?.toString()).toBe('sentinel');
    return;
  }
}
