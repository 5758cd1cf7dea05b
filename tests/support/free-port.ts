import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** A TCP port of loopback that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no address');
  return address.port;
}

/** Below the ports that the system gives to connections, which would take one now and then. */
const STRETCHES = { first: 20_000, last: 32_400 } as const;

/**
 * The first of a stretch of so many ports for a daemon of a test, at a random place. Nobody listens at those of the given
 * offsets, which the daemon must have; the others it tries before it uses them.
 */
export async function freeStretch(size: number, needed: readonly number[]): Promise<number> {
  const count = Math.floor((STRETCHES.last - STRETCHES.first) / size);
  const start = randomInt(count);
  for (let index = 0; index < count; index += 1) {
    const first = STRETCHES.first + ((start + index) % count) * size;
    if ((await Promise.all(needed.map((offset) => isFree(first + offset)))).every(Boolean)) return first;
  }
  throw new Error('every stretch of ports for daemons of tests is in use');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.listen({ port, exclusive: true });
  if (!(await free)) return false;
  server.close();
  await once(server, 'close');
  return true;
}
