import { counterSeries, gaugeSeries } from '../../../src/core/metrics.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';

test('what a series has counted is there when the metrics are read, beside what was counted by labels', async () => {
  const metrics = new PrometheusMetrics();
  const calls = metrics.counter({ name: 'calls_total', help: 'Calls', labels: ['type'] });
  const series = counterSeries(calls, { type: 'a' });
  expect(counterSeries(calls, { type: 'a' })).toBe(series);
  series.increment();
  series.increment();
  calls.increment({ type: 'a' }, 3);
  calls.increment({ type: 'b' });
  expect(await metrics.text()).toContain('calls_total{type="a"} 5\ncalls_total{type="b"} 1\n');
  series.increment();
  expect(await metrics.text()).toContain('calls_total{type="a"} 6\n');
});

test('a series that was never touched is not there', async () => {
  const metrics = new PrometheusMetrics();
  counterSeries(metrics.counter({ name: 'calls_total', help: 'Calls', labels: ['type'] }), { type: 'a' });
  gaugeSeries(metrics.gauge({ name: 'open', help: 'Open', labels: ['type'] }), { type: 'a' });
  expect(await metrics.text()).not.toContain('{');
});

test('a gauge has what was set last, by either way', async () => {
  const metrics = new PrometheusMetrics();
  const open = metrics.gauge({ name: 'open', help: 'Open', labels: ['type'] });
  gaugeSeries(open, { type: 'a' }).set(7);
  expect(await metrics.text()).toContain('open{type="a"} 7\n');
  open.set(2, { type: 'a' });
  expect(await metrics.text()).toContain('open{type="a"} 2\n');
});

test('labels that were not declared are misuse, when the metrics are read', async () => {
  const misuses: string[] = [];
  const metrics = new PrometheusMetrics({ onMisuse: ({ message }) => misuses.push(message) });
  counterSeries(metrics.counter({ name: 'calls_total', help: 'Calls' }), { type: 'a' }).increment();
  await metrics.text();
  expect(misuses).toEqual([expect.stringContaining('calls_total')]);
});
