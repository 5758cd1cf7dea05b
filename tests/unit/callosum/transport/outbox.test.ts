import { deferred } from '../../../../src/core/async.js';
import { Outbox } from '../../../../src/callosum/transport/outbox.js';

const frame = (text: string) => [Buffer.from(text)];
const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));

/** An outbox over a socket whose peers can be full or gone. The first frame names the peer and the message. */
function outboxWith(state: Map<string, 'full' | 'gone'>, limits = { maxQueuedPerPeer: 10, maxQueued: 100 }) {
  const written: string[] = [];
  const outbox = new Outbox({
    ...limits,
    write: ([first]) => {
      const text = Buffer.from(first ?? []).toString();
      const condition = state.get(text.charAt(0));
      if (condition === 'full') return failing('EAGAIN');
      if (condition === 'gone') return failing('EHOSTUNREACH');
      written.push(text);
      return Promise.resolve();
    },
  });
  return { outbox, written };
}

test('messages of one peer leave in order', async () => {
  const { outbox, written } = outboxWith(new Map());
  const outcomes = await Promise.all(['a1', 'a2', 'a3'].map((text) => outbox.send('a', frame(text))));
  expect(outcomes).toEqual(['sent', 'sent', 'sent']);
  expect(written).toEqual(['a1', 'a2', 'a3']);
});

test('only one write runs at a time', async () => {
  let running = 0;
  let most = 0;
  const outbox = new Outbox({
    maxQueuedPerPeer: 100,
    maxQueued: 100,
    write: async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    },
  });
  await Promise.all(Array.from({ length: 50 }, (_, i) => outbox.send(String(i % 5), frame('x'))));
  expect(most).toBe(1);
});

test('a full peer is tried again and holds up nobody', async () => {
  const state = new Map<string, 'full' | 'gone'>([['a', 'full']]);
  const { outbox, written } = outboxWith(state);
  const first = outbox.send('a', frame('a1'));
  await outbox.send('b', frame('b1'));
  expect(written).toEqual(['b1']);
  state.delete('a');
  await expect(first).resolves.toBe('sent');
});

test('a peer that is gone loses its line, the others keep theirs', async () => {
  const state = new Map<string, 'full' | 'gone'>([['a', 'full']]);
  const { outbox } = outboxWith(state);
  const lost = [outbox.send('a', frame('a1')), outbox.send('a', frame('a2'))];
  await outbox.send('b', frame('b1'));
  state.set('a', 'gone');
  await expect(Promise.all(lost)).resolves.toEqual(['unreachable', 'unreachable']);
  expect(outbox.queued).toBe(0);
});

test('a line is bounded, and so are all lines together', async () => {
  const state = new Map<string, 'full' | 'gone'>([
    ['a', 'full'],
    ['b', 'full'],
  ]);
  const { outbox } = outboxWith(state, { maxQueuedPerPeer: 2, maxQueued: 3 });
  void outbox.send('a', frame('a1'));
  void outbox.send('a', frame('a2'));
  await expect(outbox.send('a', frame('a3'))).resolves.toBe('queue-full');
  void outbox.send('b', frame('b1'));
  await expect(outbox.send('b', frame('b2'))).resolves.toBe('queue-full');
  outbox.close();
});

test('closing drops what waits and takes nothing more', async () => {
  const { outbox } = outboxWith(new Map([['a', 'full']]));
  const waiting = outbox.send('a', frame('a1'));
  outbox.close();
  await expect(waiting).resolves.toBe('closed');
  await expect(outbox.send('a', frame('a2'))).resolves.toBe('closed');
});

test('flushed resolves when everything has left', async () => {
  const gate = deferred<void>();
  const outbox = new Outbox({ maxQueuedPerPeer: 9, maxQueued: 9, write: () => gate.promise });
  void outbox.send('a', frame('a1'));
  let flushed = false;
  const done = outbox.flushed().then(() => {
    flushed = true;
  });
  await Promise.resolve();
  expect(flushed).toBe(false);
  gate.resolve();
  await done;
  await expect(outbox.flushed()).resolves.toBeUndefined();
});
