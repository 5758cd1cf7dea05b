import type { InvariantError } from '../../../src/core/errors.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';
import { parsePrometheusText } from '../../support/prometheus-text.js';

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

test('metrics of the original say since when each series counts, those of ours do not', async () => {
  let nowMs = 1_700_000_000_500;
  const metrics = new PrometheusMetrics({ clock: { nowMs: () => nowMs } });
  const calls = metrics.counter({ name: 'backendai_calls_total', help: 'Calls.', labels: ['method'] });
  const times = metrics.histogram({ name: 'backendai_call_sec', help: 'Time.', buckets: [1] });
  metrics.counter(CALLS).increment({ method: 'ping', result: 'ok' });
  calls.increment({ method: 'ping' });
  nowMs += 1000;
  calls.increment({ method: 'ping' });
  calls.series?.({ method: 'pong' }).increment();
  times.observe(2);
  const text = await metrics.text();
  expect(text.split('\n').filter((line) => line.includes('_created'))).toEqual([
    '# HELP backendai_calls_created Calls.',
    '# TYPE backendai_calls_created gauge',
    'backendai_calls_created{method="ping"} 1700000000.5',
    'backendai_calls_created{method="pong"} 1700000001.5',
    '# HELP backendai_call_sec_created Time.',
    '# TYPE backendai_call_sec_created gauge',
    'backendai_call_sec_created 1700000000.5',
  ]);
  expect(() => parsePrometheusText(text)).not.toThrow();
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
