import type { Metrics } from '../../../../src/core/metrics.js';
import { noMetrics } from '../../../../src/core/metrics.js';
import { StartGate } from '../../../../src/kernels/lifecycle/start-gate.js';

const patient = new AbortController().signal;

test('lets in as many as it may, the rest in the order in which they came', async () => {
  const gate = new StartGate(2, noMetrics);
  const leave = [await gate.enter(patient), await gate.enter(patient)];
  expect(gate.isFull).toBe(true);
  const order: number[] = [];
  const third = gate.enter(patient).then((done) => (order.push(3), done));
  const fourth = gate.enter(patient).then((done) => (order.push(4), done));
  leave[0]?.();
  await third;
  expect(order).toEqual([3]);
  leave[1]?.();
  (await third)();
  (await fourth)();
  expect(order).toEqual([3, 4]);
  expect(gate.isFull).toBe(false);
});

test('a place that is given back twice is one place', async () => {
  const gate = new StartGate(1, noMetrics);
  const leave = await gate.enter(patient);
  leave();
  leave();
  await gate.enter(patient);
  expect(gate.isFull).toBe(true);
});

test('who gives up takes no place, whether waiting or not yet', async () => {
  const gate = new StartGate(1, noMetrics);
  const leave = await gate.enter(patient);
  const impatient = new AbortController();
  const waiting = gate.enter(impatient.signal);
  const next = gate.enter(patient);
  impatient.abort(new Error('destroyed'));
  await expect(waiting).rejects.toThrow('destroyed');
  await expect(gate.enter(impatient.signal)).rejects.toThrow('destroyed');
  leave();
  (await next)();
  expect(gate.isFull).toBe(false);
});

test('shows who waits and who is inside', async () => {
  const shown: Record<string, number> = {};
  const metrics: Metrics = {
    ...noMetrics,
    gauge: ({ name }) => ({
      set: (value) => {
        shown[name] = value;
      },
      add: () => undefined,
      remove: () => undefined,
    }),
  };
  const gate = new StartGate(1, metrics);
  const [running, waiting] = ['splenium_kernel_starts_running', 'splenium_kernel_starts_waiting'];
  expect(shown).toEqual({ [running]: 0, [waiting]: 0 });
  const leave = await gate.enter(patient);
  const next = gate.enter(patient);
  expect(shown).toEqual({ [running]: 1, [waiting]: 1 });
  leave();
  (await next)();
  expect(shown).toEqual({ [running]: 0, [waiting]: 0 });
});
