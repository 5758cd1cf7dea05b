import { Peer } from '../../../src/callosum/index.js';
import type { CallHandler } from '../../../src/callosum/index.js';
import { ConnectionPool } from '../../../src/client/connection-pool.js';
import type { ConnectionPoolOptions } from '../../../src/client/connection-pool.js';
import { createCodec } from '../../../src/codec/index.js';
import { deferred } from '../../../src/core/async.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { PATIENT_HANDSHAKE_MS } from '../../support/rpc-server.js';
import { ManualClock } from '../../support/manual-clock.js';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

async function serve(handler: CallHandler, address = 'tcp://127.0.0.1:0'): Promise<Peer> {
  const server = await Peer.bind({ address, serializer: createCodec(), handler });
  opened.push(server);
  return server;
}

function pool(options: ConnectionPoolOptions = {}): ConnectionPool {
  const made = new ConnectionPool({ handshakeTimeoutMs: PATIENT_HANDSHAKE_MS, ...options });
  opened.push(made);
  return made;
}

/** Answers with the caller's own routing id, so that connections can be told apart. */
const whoAmI: CallHandler = ({ peer }) => Promise.resolve(peer);
const ask = (from: ConnectionPool, { endpoint: address }: Peer, method = 'who') =>
  from.use({ address }, (peer) => peer.invoke(method, null, { timeoutMs: 20_000 }));

test('one connection serves all calls to an address, also those that come while it opens', async () => {
  const [one, two] = [await serve(whoAmI), await serve(whoAmI)];
  const connections = pool();
  const ids = await Promise.all([ask(connections, one), ask(connections, one), ask(connections, one)]);
  expect(new Set(ids).size).toBe(1);
  await ask(connections, two);
  expect(connections.size).toBe(2);
});

test('a connection nobody uses is closed, one in use is not', async () => {
  const gate = deferred<void>();
  const server = await serve(async ({ method, peer }) => {
    if (method === 'wait') await gate.promise;
    return peer;
  });
  const connections = pool({ idleCloseMs: 1 });
  const waiting = ask(connections, server, 'wait');
  const first = await ask(connections, server);
  expect(connections.size).toBe(1);
  gate.resolve();
  await expect(waiting).resolves.toBe(first);
  await eventually(() => {
    expect(connections.size).toBe(0);
  });
  await expect(ask(connections, server)).resolves.not.toBe(first);
});

test('a connection that was silent for long is asked before it is used', async () => {
  const methods: string[] = [];
  const server = await serve(({ method, peer }) => {
    methods.push(method);
    return Promise.resolve(peer);
  });
  const clock = new ManualClock();
  const connections = pool({ clock, healthCheckAfterMs: 30_000 });
  const first = await ask(connections, server);
  clock.advance(29_999);
  await ask(connections, server);
  clock.advance(30_000);
  await expect(ask(connections, server)).resolves.toBe(first);
  expect(methods).toEqual(['who', 'who', 'ping', 'who']);
});

test('a connection that does not answer when asked is replaced', async () => {
  let deaf = '';
  const server = await serve(({ method, peer }) => {
    if (deaf === '') deaf = peer;
    return method === 'ping' && peer === deaf ? new Promise(() => undefined) : Promise.resolve(peer);
  });
  const clock = new ManualClock();
  const connections = pool({ clock, healthCheckTimeoutMs: 100 });
  const first = await ask(connections, server);
  clock.advance(60_000);
  const [second, third] = await Promise.all([ask(connections, server), ask(connections, server)]);
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  expect(connections.size).toBe(1);
});

test('a call that got no answer puts the connection in doubt', async () => {
  const methods: string[] = [];
  const server = await serve(({ method, peer }) => {
    methods.push(method);
    return method === 'never' ? new Promise(() => undefined) : Promise.resolve(peer);
  });
  const connections = pool();
  const target = { address: server.endpoint };
  await ask(connections, server);
  await expect(
    connections.use(target, (peer) => peer.invoke('never', null, { timeoutMs: 100 })),
  ).rejects.toMatchObject({ code: 'TIMEOUT' });
  await ask(connections, server);
  expect(methods).toEqual(['who', 'never', 'ping', 'who']);
});

test('an address where nobody listens is an error each time, until somebody does', async () => {
  const address = `tcp://127.0.0.1:${String(await freePort())}`;
  const connections = pool({ handshakeTimeoutMs: 200 });
  const call = (from: ConnectionPool) => from.use({ address }, (peer) => peer.invoke('who', null));
  await expect(call(connections)).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  expect(connections.size).toBe(0);
  await serve(whoAmI, address);
  await expect(call(pool())).resolves.toEqual(expect.any(String));
});

test('closing rejects calls under way and refuses new ones', async () => {
  const started = deferred<void>();
  const server = await serve(() => {
    started.resolve();
    return new Promise(() => undefined);
  });
  const connections = pool();
  const waiting = ask(connections, server);
  const outcome = expect(waiting).rejects.toMatchObject({ code: 'PEER_CLOSED' });
  await started.promise;
  await Promise.all([connections.close(), connections.close()]);
  await outcome;
  await expect(ask(connections, server)).rejects.toMatchObject({ code: 'RUNTIME' });
});
