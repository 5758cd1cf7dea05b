import { createServer } from 'node:net';
import { once } from 'node:events';
import { PortPool } from '../../../src/agent/port-pool.js';
import { parseKernelId } from '../../../src/core/ids.js';
import { ManualClock } from '../../support/manual-clock.js';

const KERNEL = parseKernelId('11111111-1111-4111-8111-111111111111');
const OTHER = parseKernelId('22222222-2222-4222-8222-222222222222');

function pool(range: readonly [number, number], probe: () => Promise<boolean> = () => Promise.resolve(true)) {
  const clock = new ManualClock();
  return { clock, ports: new PortPool({ range, clock, probe }) };
}

test('hands out the port that has been free for longest', async () => {
  const { ports } = pool([30_000, 30_002]);
  expect(await ports.acquire(KERNEL, 1)).toEqual([30_000]);
  ports.releaseAll(KERNEL);
  expect(await ports.acquire(KERNEL, 3)).toEqual([30_001, 30_002, 30_000]);
});

test('takes all or nothing', async () => {
  const { ports } = pool([30_000, 30_002]);
  await ports.acquire(KERNEL, 2);
  await expect(ports.acquire(OTHER, 2)).rejects.toMatchObject({ code: 'PORT_POOL_EXHAUSTED' });
  expect(ports.freeCount).toBe(1);
  expect(ports.portsOf(OTHER)).toEqual([]);
});

test('never hands one port to two kernels that ask at once', async () => {
  const { ports } = pool([30_000, 30_009], async () => {
    await Promise.resolve();
    return true;
  });
  const taken = await Promise.all([ports.acquire(KERNEL, 5), ports.acquire(OTHER, 5)]);
  expect(new Set(taken.flat()).size).toBe(10);
});

test('passes over a port that something else has bound', async () => {
  const server = createServer();
  server.listen(0);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const ports = new PortPool({ range: [address.port, address.port], clock: new ManualClock() });
  await expect(ports.assign()).rejects.toMatchObject({ code: 'PORT_POOL_EXHAUSTED' });
  expect(ports.freeCount).toBe(1);
  server.close();
});

test('a lease ends by release or by time, a kernel’s port by neither', async () => {
  const { ports, clock } = pool([30_000, 30_002]);
  const leased = await ports.assign();
  const [held] = await ports.acquire(KERNEL, 1);
  ports.release(held ?? 0);
  expect(ports.portsOf(KERNEL)).toEqual([held]);
  ports.release(leased);
  ports.release(leased);
  expect(ports.freeCount).toBe(2);
  await ports.assign();
  clock.advance(59_999);
  expect(ports.freeCount).toBe(1);
  clock.advance(1);
  expect(ports.freeCount).toBe(2);
  expect(ports.portsOf(KERNEL)).toEqual([held]);
});

test('books the ports of kernels found again, also those of another range', async () => {
  const { ports } = pool([30_000, 30_001]);
  ports.restore(KERNEL, [30_001, 29_000]);
  expect(await ports.acquire(OTHER, 1)).toEqual([30_000]);
  ports.releaseAll(KERNEL);
  expect(ports.freeCount).toBe(1);
  ports.release(29_000);
  expect(ports.freeCount).toBe(1);
});

test('a port that a kernel has is not taken over by another one, and nothing is booked then', async () => {
  const { ports } = pool([30_000, 30_003]);
  await ports.acquire(KERNEL, 2);
  expect(() => {
    ports.restore(OTHER, [30_003, 30_001]);
  }).toThrow(expect.objectContaining({ code: 'PORT_IN_USE' }));
  expect(ports.portsOf(OTHER)).toEqual([]);
  expect(ports.portsOf(KERNEL)).toEqual([30_000, 30_001]);
  ports.restore(KERNEL, [30_001]);
  expect(ports.freeCount).toBe(2);
});

test('exchanged ports go to the end of the line, and nothing changes where there are no others', async () => {
  const { ports } = pool([30_000, 30_003]);
  await ports.acquire(KERNEL, 2);
  expect(await ports.exchange(KERNEL, [30_000])).toEqual([30_002]);
  expect(new Set(ports.portsOf(KERNEL))).toEqual(new Set([30_001, 30_002]));
  expect(ports.preview(2)).toEqual([30_003, 30_000]);
  await ports.acquire(OTHER, 2);
  await expect(ports.exchange(KERNEL, [30_001])).rejects.toMatchObject({ code: 'PORT_POOL_EXHAUSTED' });
  expect(new Set(ports.portsOf(KERNEL))).toEqual(new Set([30_001, 30_002]));
});
