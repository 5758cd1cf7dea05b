import { Peer } from '../../../src/callosum/index.js';

interface Counts {
  readonly kept: number;
  readonly connections: number;
  readonly left: number;
  readonly givenUp: number;
}
interface StressScript {
  readonly stress: (options: { Peer: typeof Peer; calls: number; connections: number }) => Promise<Counts>;
  readonly complaints: (counts: Counts) => readonly string[];
}

test('of 5000 calls from 50 connections that come and go, each that is kept gets exactly one answer', async () => {
  const script = new URL('../../../scripts/stress.mjs', import.meta.url).href;
  const { stress, complaints } = (await import(script)) as StressScript;
  const counts = await stress({ Peer, calls: 5000, connections: 50 });
  expect(complaints(counts)).toEqual([]);
  expect(counts.kept + counts.givenUp).toBe(5000);
  expect(counts.connections).toBeGreaterThanOrEqual(50);
  expect(counts.left).toBeGreaterThan(0);
}, 120_000);
