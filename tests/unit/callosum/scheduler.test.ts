import { createScheduler } from '../../../src/callosum/scheduler.js';
import type { SchedulerName } from '../../../src/callosum/scheduler.js';
import { deferred } from '../../../src/core/async.js';

/** Starts one job per name, as `<peer><number>`, and says which have started and how to end them. */
function started(name: SchedulerName, maxRunning: number, jobs: readonly string[], orderKey = 'k') {
  const scheduler = createScheduler(name, { maxRunning });
  const order: string[] = [];
  const gates = new Map(jobs.map((job) => [job, deferred<void>()]));
  for (const job of jobs)
    scheduler.run({ peer: job.charAt(0), orderKey }, () => {
      order.push(job);
      return gates.get(job)?.promise ?? Promise.resolve();
    });
  const end = async (job: string) => {
    gates.get(job)?.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { order, end };
}

test('concurrent: a bounded number runs, those beyond wait in order', async () => {
  const { order, end } = started('concurrent', 2, ['a1', 'a2', 'a3', 'a4']);
  expect(order).toEqual(['a1', 'a2']);
  await end('a2');
  expect(order).toEqual(['a1', 'a2', 'a3']);
  await end('a1');
  await end('a3');
  expect(order).toEqual(['a1', 'a2', 'a3', 'a4']);
});

test('concurrent: callers take turns, however much one has sent', async () => {
  const { order, end } = started('concurrent', 1, ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']);
  for (const job of ['a1', 'a2', 'b1', 'c1', 'a3']) await end(job);
  expect(order).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2']);
});

test('exit-ordered: everything runs at once', () => {
  expect(started('exit-ordered', 1, ['a1', 'a2', 'a3']).order).toEqual(['a1', 'a2', 'a3']);
});

test('key-serialized: one after another in order of arrival', async () => {
  const { order, end } = started('key-serialized', 1, ['a1', 'b1', 'a2']);
  await end('');
  expect(order).toEqual(['a1']);
  await end('a1');
  expect(order).toEqual(['a1', 'b1']);
  await end('b1');
  expect(order).toEqual(['a1', 'b1', 'a2']);
});
