import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Consumer, Distributor, Publisher, Subscriber } from '../../src/callosum/index.js';
import type { PublishedMessage } from '../../src/callosum/index.js';
import { deferred } from '../../src/core/async.js';
import { msgpack } from '../support/callosum.js';
import { PythonScript } from '../support/python.js';
import { CALLOSUM_PYTHON, describeRequiring } from '../support/requirements.js';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `tcp://127.0.0.1:${String(port)}`;
}

const patterns = [
  ['broadcast', Publisher, Subscriber],
  ['distribute', Distributor, Consumer],
] as const;

describeRequiring(CALLOSUM_PYTHON, 'streams with Python', (python) => {
  describe.each(patterns)('%s', (pattern, Sender, Receiver) => {
    test('from its publisher to us', async () => {
      const address = await freeAddress();
      const script = new PythonScript(python, 'callosum_stream.py', { role: 'publisher', pattern, address });
      opened.push(() => script.end());
      await expect(script.next()).resolves.toEqual({ ready: true });
      const messages: PublishedMessage[] = [];
      const enough = deferred<null>();
      const receiver = Receiver.connect({
        address,
        serializer: msgpack,
        handler: (message) => {
          if (messages.push(message) === 3) enough.resolve(null);
          return Promise.resolve();
        },
      });
      opened.push(() => receiver.close());
      await enough.promise;
      const [first, second] = messages;
      const { n } = first?.body as { n: number };
      expect(second?.body).toEqual({ n: n + 1 });
      expect(second?.createdAtUs).toBeGreaterThan(first?.createdAtUs ?? Infinity);
      // Both clocks are this machine's.
      expect(Math.abs((first?.createdAtUs ?? 0) / 1000 - Date.now())).toBeLessThan(600_000);
    });

    test('from us to a reader with its decoder', async () => {
      const sender = await Sender.bind({ address: 'tcp://127.0.0.1:0', serializer: msgpack });
      opened.push(() => sender.close());
      const script = new PythonScript(python, 'callosum_stream.py', {
        role: 'receiver',
        pattern,
        address: sender.endpoint,
      });
      opened.push(() => script.end());
      const heard = script.next();
      const createdAtUs = Date.parse('2025-11-03T09:41:07.123Z') * 1000 + 456;
      // Whatever is broadcast before the subscription has come through is for nobody.
      const pause = () => new Promise<'not yet'>((resolve) => setTimeout(resolve, 5, 'not yet'));
      do await sender.publish({ hello: ['안녕', 1, null] }, createdAtUs);
      while ((await Promise.race([heard, pause()])) === 'not yet');
      await expect(heard).resolves.toEqual({
        created_at: '2025-11-03T09:41:07.123456+00:00',
        body: { hello: ['안녕', 1, null] },
      });
    });
  });
});
