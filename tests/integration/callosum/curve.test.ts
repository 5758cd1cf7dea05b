import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Context, Dealer, Router } from 'zeromq';
import {
  AcceptedKeysDirectory,
  CurveRehearsal,
  generateKeyPair,
  Peer,
  verifyCurveRefusesStrangers,
  writeKeyFiles,
} from '../../../src/callosum/index.js';
import type { AcceptedKeys, ConnectOptions } from '../../../src/callosum/index.js';
import { msgpack, RecordedMetrics } from '../../support/callosum.js';
import { RecordedLog } from '../../support/recorded-log.js';

const serverKeys = generateKeyPair();
const managerKeys = generateKeyPair();
const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

async function bind(acceptedKeys: AcceptedKeys, metrics = new RecordedMetrics()): Promise<Peer> {
  const peer = await Peer.bind({
    address: 'tcp://127.0.0.1:0',
    serializer: msgpack,
    handler: (call) => Promise.resolve(call.body),
    curve: { secretKey: serverKeys.secretKey, acceptedKeys },
    metrics,
  });
  opened.push(peer);
  return peer;
}

async function connect(
  server: Peer,
  curve: ConnectOptions['curve'],
  handshakeTimeoutMs = 20_000,
): Promise<Peer> {
  const peer = await Peer.connect({
    address: server.endpoint,
    serializer: msgpack,
    handshakeTimeoutMs,
    ...(curve ? { curve } : {}),
  });
  opened.push(peer);
  return peer;
}

const credentials = (keys = managerKeys, serverPublicKey = serverKeys.publicKey) => ({
  ...keys,
  serverPublicKey,
});
const onlyManager = new Set([managerKeys.publicKey]);

test('an accepted key gets through and calls', async () => {
  const server = await bind(onlyManager);
  await expect((await connect(server, credentials())).invoke('echo', 1)).resolves.toBe(1);
});

test('an unknown key is refused with the reason, is counted, and the server goes on', async () => {
  const metrics = new RecordedMetrics();
  const server = await bind(onlyManager, metrics);
  await expect(connect(server, credentials(generateKeyPair()))).rejects.toMatchObject({
    code: 'HANDSHAKE_FAILED',
    message: expect.stringContaining('the server refused our public key'),
  });
  await expect((await connect(server, credentials())).invoke('echo', 1)).resolves.toBe(1);
  await metrics.until('callosum_handshake_failures_total', { reason: 'auth' }, (count) => count === 1);
  expect([...server.refusedAddresses]).toEqual([['127.0.0.1', 1]]);
});

test('a client without CURVE is refused with the reason', async () => {
  const server = await bind(onlyManager);
  await expect(connect(server, undefined)).rejects.toMatchObject({
    message: expect.stringContaining('one side uses CURVE, the other does not'),
  });
});

test('a wrong server key is refused with the reason', async () => {
  const server = await bind(onlyManager);
  const wrong = credentials(managerKeys, generateKeyPair().publicKey);
  await expect(connect(server, wrong, 5000)).rejects.toMatchObject({
    message: expect.stringContaining('is its public key the one we have'),
  });
});

test('a check that throws refuses its client only', async () => {
  let broken = true;
  const server = await bind({
    has: (key) => {
      if (broken) throw new Error('the key directory is gone');
      return onlyManager.has(key);
    },
  });
  await expect(connect(server, credentials(), 300)).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  broken = false;
  await expect((await connect(server, credentials())).invoke('echo', 1)).resolves.toBe(1);
});

test('the accepted set may change while the server runs', async () => {
  const accepted = new Set([managerKeys.publicKey]);
  const server = await bind(accepted);
  const first = await connect(server, credentials());
  const next = generateKeyPair();
  accepted.add(next.publicKey);
  accepted.delete(managerKeys.publicKey);
  await expect((await connect(server, credentials(next))).invoke('echo', 2)).resolves.toBe(2);
  await expect(first.invoke('echo', 1)).resolves.toBe(1);
  await expect(connect(server, credentials(), 300)).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
});

test('two servers of one process have their own accepted keys', async () => {
  const other = generateKeyPair();
  const one = await bind(onlyManager);
  const two = await bind(new Set([other.publicKey]));
  await expect((await connect(one, credentials())).invoke('echo', 1)).resolves.toBe(1);
  await expect((await connect(two, credentials(other))).invoke('echo', 2)).resolves.toBe(2);
  await expect(connect(two, credentials(), 300)).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
});

test('a client that connects again and again in vain leaves the server answering', async () => {
  const server = await bind(onlyManager);
  const insistent = new Dealer({ linger: 0, reconnectInterval: 1 });
  opened.push(insistent);
  insistent.connect(server.endpoint);
  const client = await connect(server, credentials());
  const results = await Promise.all(Array.from({ length: 100 }, (_, i) => client.invoke('echo', i)));
  expect(results).toHaveLength(100);
});

test('a key that is none is refused when binding', async () => {
  await expect(
    Peer.bind({
      address: 'tcp://127.0.0.1:0',
      serializer: msgpack,
      handler: () => Promise.resolve(null),
      curve: { secretKey: 'short', acceptedKeys: new Set() },
    }),
  ).rejects.toMatchObject({ code: 'ARGS_INVALID_VALUE', message: expect.not.stringContaining('short') });
});

describe('the self-test', () => {
  const verify = (server: Peer, serverPublicKey = serverKeys.publicKey) =>
    verifyCurveRefusesStrangers({ endpoint: server.endpoint, serverPublicKey, timeoutMs: 10_000 });

  test('is content with a server that refuses strangers, and leaves it answering', async () => {
    const server = await bind(onlyManager);
    await verify(server);
    await expect((await connect(server, credentials())).invoke('echo', 1)).resolves.toBe(1);
  });

  test('is not taken for strangers by a server that knows of it, who counts the next one', async () => {
    const [metrics, log, rehearsal] = [new RecordedMetrics(), new RecordedLog(), new CurveRehearsal()];
    const server = await Peer.bind({
      address: 'tcp://127.0.0.1:0',
      serializer: msgpack,
      handler: (call) => Promise.resolve(call.body),
      curve: { secretKey: serverKeys.secretKey, acceptedKeys: onlyManager, rehearsal },
      metrics,
      logger: log,
    });
    opened.push(server);
    await verifyCurveRefusesStrangers({
      endpoint: server.endpoint,
      serverPublicKey: serverKeys.publicKey,
      timeoutMs: 10_000,
      rehearsal,
    });
    await expect(connect(server, credentials(generateKeyPair()), 300)).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
    });
    // Events of a socket keep their order: the self-test's are here when this one is.
    await metrics.until('callosum_handshake_failures_total', { reason: 'auth' }, (count) => count > 0);
    const warned = log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
    expect(warned.slice(0, 2)).toEqual([
      'a client was refused',
      'a client did not get through the handshake',
    ]);
    expect(log.lines.map(({ level, message }) => [level, message])).toContainEqual([
      ...['debug', 'a stranger of the self-test was refused'],
    ]);
    for (const reason of ['protocol', 'other'])
      expect(metrics.value('callosum_handshake_failures_total', { reason })).toBe(0);
    expect([...server.refusedAddresses.keys()]).toEqual(['127.0.0.1']);
  });

  test('finds a server that accepts every key', async () => {
    await expect(verify(await bind({ has: () => true }))).rejects.toMatchObject({
      code: 'CURVE_NOT_ENFORCED',
      message: expect.stringContaining('a key made up for this test was let in'),
    });
  });

  test('finds a ROUTER without a ZAP handler, which libzmq leaves open to every key', async () => {
    const open = new Router({
      context: new Context(),
      linger: 0,
      curveServer: true,
      curveSecretKey: serverKeys.secretKey,
    });
    opened.push(open);
    await open.bind('tcp://127.0.0.1:*');
    void (async () => {
      for await (const [id, , ...rest] of open) await open.send([id ?? '', 'PONG', ...rest]);
    })().catch(() => undefined);
    await expect(
      verifyCurveRefusesStrangers({
        endpoint: open.lastEndpoint ?? '',
        serverPublicKey: serverKeys.publicKey,
        timeoutMs: 10_000,
      }),
    ).rejects.toMatchObject({ code: 'CURVE_NOT_ENFORCED' });
  });

  test('finds a server without CURVE: there is no verdict on the key', async () => {
    const server = await Peer.bind({
      address: 'tcp://127.0.0.1:0',
      serializer: msgpack,
      handler: (call) => Promise.resolve(call.body),
    });
    opened.push(server);
    await expect(
      verifyCurveRefusesStrangers({
        endpoint: server.endpoint,
        serverPublicKey: serverKeys.publicKey,
        timeoutMs: 100,
      }),
    ).rejects.toMatchObject({ code: 'CURVE_NOT_ENFORCED', message: expect.stringContaining('no verdict') });
  });

  test('reaches a server that listens on every interface', async () => {
    const server = await Peer.bind({
      address: 'tcp://0.0.0.0:0',
      serializer: msgpack,
      handler: (call) => Promise.resolve(call.body),
      curve: { secretKey: serverKeys.secretKey, acceptedKeys: onlyManager },
    });
    opened.push(server);
    await verify(server);
  });
});

test('keys rotate through a directory with no failed call: several are accepted at once', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'splenium-rotation-'));
  const next = generateKeyPair();
  await writeKeyFiles(directory, 'manager', managerKeys);
  const acceptedKeys = await AcceptedKeysDirectory.open({ directory });
  opened.push(acceptedKeys, { close: () => rm(directory, { recursive: true }) });
  const server = await bind(acceptedKeys);
  const calls = async (keys: typeof managerKeys) => {
    const client = await connect(server, credentials(keys));
    const result = await client.invoke('echo', 1);
    await client.close();
    return result;
  };
  await expect(connect(server, credentials(next))).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  await writeKeyFiles(directory, 'manager-2', next);
  await acceptedKeys.reload();
  await expect(Promise.all([calls(managerKeys), calls(next)])).resolves.toEqual([1, 1]);
  await rm(join(directory, 'manager.key'));
  await acceptedKeys.reload();
  await expect(calls(next)).resolves.toBe(1);
  await expect(connect(server, credentials())).rejects.toMatchObject({
    message: expect.stringContaining('refused our public key'),
  });
});
