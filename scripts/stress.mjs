// stress.mjs [CALLS [CONNECTIONS]]: calls (default 100000) from so many connections at once (default 200) that come and go,
// against one bound peer. Some calls are given up and some connections leave with calls under way; every call that is
// kept must get exactly one answer, its own. Prints the counts; needs a built dist/ (npm run build).
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';

const CALLS_PER_CONNECTION = 60;
const SLOW_MS = 5;
const GIVE_UP_MS = 1;
/** A kept call that takes longer counts as lost. */
const LOST_AFTER_MS = 120_000;

const json = {
  pack: (value) => Buffer.from(JSON.stringify(value)),
  unpack: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
};

/**
 * Runs the load and returns the counts; nothing is printed.
 * @param {{ Peer: object, calls: number, connections: number }} options
 */
export async function stress({ Peer, calls, connections }) {
  const counts = {
    connections: 0,
    kept: 0,
    answered: 0,
    wrong: 0,
    lost: 0,
    twice: 0,
    givenUp: 0,
    left: 0,
    served: 0,
    inFlightAtEnd: 0,
  };
  const server = await Peer.bind({
    address: 'tcp://127.0.0.1:0',
    serializer: json,
    limits: { maxConnections: 10 * connections },
    handler: async ({ method, body, signal }) => {
      counts.served += 1;
      if (method === 'slow') await pause(SLOW_MS, signal);
      return body;
    },
  });
  // Of the calls that are kept, none may get a second answer.
  const logger = {
    debug: (message, fields) => {
      if (message === 'a reply nobody waits for' && fields?.method === 'echo') counts.twice += 1;
    },
    info: () => {},
    warn: () => {},
    error: () => {},
    child: () => logger,
  };
  let remaining = calls;
  let serial = 0;

  const keep = async (client) => {
    const body = { serial: serial++, padding: 'x'.repeat((serial % 50) * 20) };
    counts.kept += 1;
    try {
      const answer = await client.invoke('echo', body, { timeoutMs: LOST_AFTER_MS });
      if (answer.serial === body.serial && answer.padding === body.padding) counts.answered += 1;
      else counts.wrong += 1;
    } catch {
      counts.lost += 1;
    }
  };
  const giveUp = async (client) => {
    counts.givenUp += 1;
    await client.invoke('slow', null, { timeoutMs: GIVE_UP_MS }).catch(() => undefined);
  };
  const leave = (client) => {
    counts.left += 1;
    client.invoke('slow', null).catch(() => undefined);
  };

  async function visit(visitor) {
    while (remaining > 0) {
      const share = Math.min(remaining, 1 + ((visitor * 7 + serial) % CALLS_PER_CONNECTION));
      remaining -= share;
      const client = await Peer.connect({
        address: server.endpoint,
        serializer: json,
        logger,
        handshakeTimeoutMs: LOST_AFTER_MS,
      });
      counts.connections += 1;
      const pending = [];
      for (let call = 0; call < share; call++) {
        if (call % 11 === 10) pending.push(giveUp(client));
        else pending.push(keep(client));
        // Not all at once: callers wait for some of their answers.
        if (call % 5 === 4) await pending[pending.length - 5];
      }
      await Promise.all(pending);
      if (serial % 3 === 0) leave(client);
      await client.close();
    }
  }
  await Promise.all(Array.from({ length: connections }, (_, visitor) => visit(visitor)));
  await server.close({ drainMs: 30_000 });
  counts.inFlightAtEnd = server.inFlight;
  return counts;
}

/** What must hold of the counts; empty when all does. */
export function complaints({ kept, answered, wrong, lost, twice, inFlightAtEnd }) {
  const found = [];
  if (answered !== kept)
    found.push(`${String(kept - answered)} of ${String(kept)} kept calls without their answer`);
  if (wrong > 0) found.push(`${String(wrong)} answers of other calls`);
  if (lost > 0) found.push(`${String(lost)} calls lost`);
  if (twice > 0) found.push(`${String(twice)} second answers`);
  if (inFlightAtEnd > 0) found.push(`${String(inFlightAtEnd)} calls still in flight after closing`);
  return found;
}

async function pause(ms, signal) {
  const timer = AbortSignal.timeout(ms);
  await once(AbortSignal.any([timer, signal]), 'abort');
  signal.throwIfAborted();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { Peer } = await import('../dist/callosum/index.js');
  const [calls = 100_000, connections = 200] = process.argv.slice(2).map(Number);
  const began = performance.now();
  const counts = await stress({ Peer, calls, connections });
  const seconds = (performance.now() - began) / 1000;
  for (const [name, count] of Object.entries(counts))
    console.log(`${name.padEnd(16)} ${String(count).padStart(8)}`);
  console.log(`${'seconds'.padEnd(16)} ${seconds.toFixed(1).padStart(8)}`);
  const found = complaints(counts);
  console.log(found.length === 0 ? 'every kept call got exactly one answer' : found.join('\n'));
  process.exitCode = found.length === 0 ? 0 : 1;
}
