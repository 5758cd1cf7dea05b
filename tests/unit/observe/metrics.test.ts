import type { InvariantError } from '../../../src/core/errors.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';

const CALLS = { name: 'splenium_calls_total', help: 'Calls.', labels: ['method', 'result'] };

test('counters, gauges and histograms appear in the text', async () => {
  const metrics = new PrometheusMetrics();
  const calls = metrics.counter(CALLS);
  calls.increment({ method: 'ping', result: 'ok' });
  calls.increment({ result: 'ok', method: 'ping' }, 2);
  metrics.gauge({ name: 'splenium_kernels', help: 'Kernels.' }).set(7);
  metrics.histogram({ name: 'splenium_call_seconds', help: 'Time.', buckets: [0.1, 1] }).observe(0.5);
  const lines = (await metrics.text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      '# TYPE splenium_calls_total counter',
      'splenium_calls_total{method="ping",result="ok"} 3',
      '# HELP splenium_kernels Kernels.',
      'splenium_kernels 7',
      'splenium_call_seconds_bucket{le="0.1"} 0',
      'splenium_call_seconds_bucket{le="1"} 1',
      'splenium_call_seconds_sum 0.5',
    ]),
  );
  expect(metrics.contentType).toContain('text/plain');
});

test('asking twice for one name gives the same metric', () => {
  const metrics = new PrometheusMetrics();
  expect(metrics.counter(CALLS)).toBe(metrics.counter({ ...CALLS, labels: ['result', 'method'] }));
});

test('two registries in one process know nothing of each other', async () => {
  const [one, other] = [new PrometheusMetrics(), new PrometheusMetrics()];
  one.counter({ name: 'splenium_x_total', help: 'X.' }).increment();
  other.counter({ name: 'splenium_x_total', help: 'X.' });
  expect(await one.text()).toContain('splenium_x_total 1');
  expect(await other.text()).toContain('splenium_x_total 0');
});

test('one name for two kinds, or with other labels, is refused', () => {
  const metrics = new PrometheusMetrics();
  metrics.counter(CALLS);
  expect(() => metrics.gauge(CALLS)).toThrow(expect.objectContaining({ code: 'INVARIANT_VIOLATED' }));
  expect(() => metrics.counter({ ...CALLS, labels: ['method'] })).toThrow('{method, result}');
});

test.each([
  ['missing', { method: 'ping' }],
  ['unknown', { method: 'ping', result: 'ok', peer: 'p' }],
  ['absent', undefined],
])('a sample with %s labels is refused', (_what, labels) => {
  const calls = new PrometheusMetrics().counter(CALLS);
  expect(() => {
    calls.increment(labels);
  }).toThrow(expect.objectContaining({ code: 'INVARIANT_VIOLATED' }));
});

test('a daemon hears of a wrong sample instead, and the sample is dropped', async () => {
  const heard: InvariantError[] = [];
  const metrics = new PrometheusMetrics({ onMisuse: (error) => heard.push(error) });
  metrics.counter(CALLS).increment({ method: 'ping' });
  expect(heard.map((error) => error.message)).toEqual([
    'metric splenium_calls_total has the labels {method, result} but was given {method}',
  ]);
  expect(await metrics.text()).not.toContain('method="ping"');
});
