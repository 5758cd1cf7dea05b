import { Peer } from '../../src/callosum/index.js';
import type { IncomingCall } from '../../src/callosum/index.js';
import { decodeMessage } from '../../src/callosum/wire/message.js';
import { Router } from 'zeromq';
import { deferred } from '../../src/core/async.js';
import { msgpack, RecordedMetrics } from '../support/callosum.js';
import { PythonScript } from '../support/python.js';
import { CALLOSUM_PYTHON, describeRequiring } from '../support/requirements.js';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

describeRequiring(CALLOSUM_PYTHON, 'a Python client', (python) => {
  async function bind(
    handler: (call: IncomingCall) => Promise<unknown>,
    options: Partial<Parameters<typeof Peer.bind>[0]> = {},
  ): Promise<Peer> {
    const peer = await Peer.bind({ address: 'tcp://127.0.0.1:0', serializer: msgpack, handler, ...options });
    opened.push(() => peer.close());
    return peer;
  }

  const callFrom = async (address: string, steps: unknown, more: object = {}) =>
    await new PythonScript(python, 'callosum_client.py', { address, steps, ...more }).end();

  test('of a key-serialized server has its calls run in order, and its empty keys kept apart', async () => {
    const order: unknown[] = [];
    let running = 0;
    let most = 0;
    const server = await bind(
      async ({ body }) => {
        const { key, n } = body as { key: string; n: number };
        if (key === 'k') most = Math.max(most, (running += 1));
        await new Promise((resolve) => setImmediate(resolve));
        if (key === 'k') {
          running -= 1;
          order.push(n);
        }
        return n;
      },
      { scheduler: 'key-serialized' },
    );
    const calls = Array.from({ length: 60 }, (_, n) => {
      const order_key = [null, '', 'k'][n % 3];
      return { method: 'm', body: { key: order_key ?? 'none', n }, order_key };
    });
    const outcomes = await callFrom(server.endpoint, [calls]);
    expect(outcomes).toEqual(calls.map(({ body }) => ({ result: body.n })));
    expect(order).toEqual(calls.filter(({ order_key }) => order_key === 'k').map(({ body }) => body.n));
    expect(most).toBe(1);
  });

  test('counts its calls across the wrap of the sequence number', async () => {
    const seen: string[] = [];
    const server = await bind(({ body }) => {
      seen.push(String(body));
      return Promise.resolve(body);
    });
    const steps = ['a', 'b', 'c', 'd'].map((body) => [{ method: 'echo', body }]);
    const outcomes = await callFrom(server.endpoint, steps, { first_sequence: 2 ** 32 - 2 });
    expect(outcomes).toEqual(['a', 'b', 'c', 'd'].map((result) => ({ result })));
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
  });

  test('reads replies that we compress', async () => {
    const text = 'the quick brown fox '.repeat(1000);
    const server = await bind(() => Promise.resolve(text), { compress: true });
    await expect(callFrom(server.endpoint, [[{ method: 'logs' }]])).resolves.toEqual([{ result: text }]);
  });

  test('sees a deadline of the server as RPCUserError named TimeoutError', async () => {
    const server = await bind(() => new Promise(() => undefined), { deadlines: { defaultMs: 50 } });
    const [outcome] = await callFrom(server.endpoint, [[{ method: 'stuck' }]]);
    expect(outcome).toMatchObject({ error: { type: 'RPCUserError', name: 'TimeoutError' } });
  });

  test('sees a limit as RPCUserError named LimitExceededError', async () => {
    const gate = deferred<null>();
    const metrics = new RecordedMetrics();
    const server = await bind(({ method }) => (method === 'hold' ? gate.promise : Promise.resolve(method)), {
      limits: { maxInFlightPerPeer: 1 },
      metrics,
    });
    const outcomes = callFrom(server.endpoint, [[{ method: 'hold', timeout: 20 }, { method: 'refused' }]]);
    await metrics.until(
      'callosum_calls_refused_total',
      { limit: 'maxInFlightPerPeer' },
      (count) => count === 1,
    );
    gate.resolve(null);
    await expect(outcomes).resolves.toMatchObject([
      { result: null },
      { error: { type: 'RPCUserError', name: 'LimitExceededError' } },
    ]);
  });
});

describeRequiring(CALLOSUM_PYTHON, 'a Python client of a raw socket', (python) => {
  test('sends what our decoder reads as the empty binary and the empty text', async () => {
    const router = new Router({ linger: 0 });
    await router.bind('tcp://127.0.0.1:*');
    opened.push(() => {
      router.close();
      return Promise.resolve();
    });
    const script = new PythonScript(python, 'callosum_client.py', {
      address: router.lastEndpoint ?? '',
      steps: [[{ method: 'm', timeout: 1 }], [{ method: 'm', order_key: '', timeout: 1 }]],
    });
    const keys: string[] = [];
    const outcomes = script.end();
    while (keys.length < 2) {
      const [id, type, header, body] = await router.receive();
      if (type?.toString() === 'PING') await router.send([id ?? '', 'PONG', '', '']);
      if (type?.toString() !== 'UPPER' || !header || !body) continue;
      const decoded = decodeMessage(header, body, { maxBodyBytes: 1000 });
      if (decoded.ok && decoded.message.type === 'FUNCTION')
        keys.push(Buffer.from(decoded.message.id.rawOrderKey).toString('hex'));
    }
    expect(keys).toEqual(['c400', 'a0']);
    await outcomes;
  });
});
