import { deferred } from '../../../../src/core/async.js';
import { Outbox } from '../../../../src/callosum/transport/outbox.js';
import type { OutboxLimits, SendOutcome } from '../../../../src/callosum/transport/outbox.js';

const frame = (text: string) => [Buffer.from(text)];
const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));

const wide: OutboxLimits = {
  maxQueuedPerPeer: 100,
  maxQueued: 100,
  maxQueuedBytesPerPeer: 1000,
  maxQueuedBytes: 1000,
};

/** The outcome of one message. */
const send = (outbox: Outbox, peer: string, frames: readonly Uint8Array[]) =>
  new Promise<SendOutcome>((resolve) => {
    outbox.send(peer, frames, resolve);
  });

/** An outbox over a socket whose peers can be full or gone. The first frame names the peer and the message. */
function outboxWith(
  state: Map<string, 'full' | 'gone'>,
  limits: Partial<OutboxLimits> = {},
  onBacklog?: (messages: number, bytes: number) => void,
) {
  const written: string[] = [];
  const outbox = new Outbox({
    limits: { ...wide, ...limits },
    ...(onBacklog ? { onBacklog } : {}),
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
  const outcomes = await Promise.all(['a1', 'a2', 'a3'].map((text) => send(outbox, 'a', frame(text))));
  expect(outcomes).toEqual(['sent', 'sent', 'sent']);
  expect(written).toEqual(['a1', 'a2', 'a3']);
});

test('a message goes to the socket at once when nothing waits for its peer', () => {
  const { outbox, written } = outboxWith(new Map());
  void send(outbox, 'a', frame('a1'));
  void send(outbox, 'b', frame('b1'));
  expect(written).toEqual(['a1', 'b1']);
});

test('the next message of a peer waits until the one before is with the socket', async () => {
  const gate = deferred<void>();
  let writes = 0;
  const outbox = new Outbox({
    limits: wide,
    write: () => {
      writes += 1;
      return gate.promise;
    },
  });
  const both = [send(outbox, 'a', frame('a1')), send(outbox, 'a', frame('a2'))];
  await Promise.resolve();
  expect(writes).toBe(1);
  gate.resolve();
  await expect(Promise.all(both)).resolves.toEqual(['sent', 'sent']);
  expect(writes).toBe(2);
});

test('a long line gives way to other work between its writes', async () => {
  const { outbox, written } = outboxWith(new Map());
  const all = Array.from({ length: 100 }, (_, i) => send(outbox, 'a', frame(`a${String(i)}`)));
  const before = await new Promise<number>((resolve) => {
    setImmediate(() => {
      resolve(written.length);
    });
  });
  expect(before).toBeLessThan(100);
  await Promise.all(all);
  expect(written).toEqual(Array.from({ length: 100 }, (_, i) => `a${String(i)}`));
});

test('a full peer is tried again and holds up nobody', async () => {
  const state = new Map<string, 'full' | 'gone'>([['a', 'full']]);
  const { outbox, written } = outboxWith(state);
  const first = send(outbox, 'a', frame('a1'));
  await send(outbox, 'b', frame('b1'));
  expect(written).toEqual(['b1']);
  state.delete('a');
  await expect(first).resolves.toBe('sent');
});

test('a peer that is gone loses its line, the others keep theirs', async () => {
  const state = new Map<string, 'full' | 'gone'>([['a', 'full']]);
  const { outbox } = outboxWith(state);
  const lost = [send(outbox, 'a', frame('a1')), send(outbox, 'a', frame('a2'))];
  await send(outbox, 'b', frame('b1'));
  state.set('a', 'gone');
  await expect(Promise.all(lost)).resolves.toEqual(['unreachable', 'unreachable']);
  expect(outbox.queued).toBe(0);
});

const aFull = (): Map<string, 'full' | 'gone'> =>
  new Map([
    ['a', 'full'],
    ['b', 'full'],
  ]);

test('the messages of a line are bounded, and so are those of all lines together', async () => {
  const { outbox } = outboxWith(aFull(), { maxQueuedPerPeer: 2, maxQueued: 3 });
  void send(outbox, 'a', frame('a1'));
  void send(outbox, 'a', frame('a2'));
  await expect(send(outbox, 'a', frame('a3'))).resolves.toBe('queue-full');
  void send(outbox, 'b', frame('b1'));
  await expect(send(outbox, 'b', frame('b2'))).resolves.toBe('queue-full');
  outbox.close();
});

test('the bytes of a line are bounded, and so are those of all lines together', async () => {
  const { outbox } = outboxWith(aFull(), { maxQueuedBytesPerPeer: 20, maxQueuedBytes: 30 });
  void send(outbox, 'a', frame('a'.repeat(15)));
  await expect(send(outbox, 'a', frame('a'.repeat(6)))).resolves.toBe('queue-full');
  void send(outbox, 'a', frame('aaaaa'));
  await expect(send(outbox, 'b', frame('b'.repeat(11)))).resolves.toBe('queue-full');
  void send(outbox, 'b', frame('b'.repeat(10)));
  expect(outbox.queuedBytes).toBe(30);
  outbox.close();
  expect(outbox.queuedBytes).toBe(0);
});

test('a backlog is reported until it has gone', async () => {
  const state = aFull();
  const reports: (readonly [number, number])[] = [];
  const { outbox } = outboxWith(state, {}, (...report) => reports.push(report));
  const waiting = [send(outbox, 'a', frame('a1')), send(outbox, 'a', frame('a2'))];
  await Promise.resolve();
  state.clear();
  await Promise.all(waiting);
  expect(reports.slice(-2)).toEqual([
    [1, 2],
    [0, 0],
  ]);
});

test('closing drops what waits and takes nothing more', async () => {
  const { outbox } = outboxWith(aFull());
  const waiting = send(outbox, 'a', frame('a1'));
  outbox.close();
  await expect(waiting).resolves.toBe('closed');
  await expect(send(outbox, 'a', frame('a2'))).resolves.toBe('closed');
});

test('flushed resolves when everything has left', async () => {
  const gate = deferred<void>();
  const outbox = new Outbox({ limits: wide, write: () => gate.promise });
  void send(outbox, 'a', frame('a1'));
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
