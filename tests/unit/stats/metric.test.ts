import { Decimal } from '../../../src/resources/quantity/decimal.js';
import { KERNEL_METRICS, NODE_METRICS } from '../../../src/stats/catalogue.js';
import { GrowingCounter } from '../../../src/stats/growing-counter.js';
import { MetricSeries } from '../../../src/stats/metric.js';
import { numberText, percentText } from '../../../src/stats/number-text.js';
import { RunningStatistics } from '../../../src/stats/running-statistics.js';

const decimal = (text: string | number) => new Decimal(text);

describe('number text', () => {
  test.each([
    ['12.3456', '12.346'],
    ['100.000', '100'],
    ['0', '0'],
    ['-0', '0'],
    ['0.0004', '0'],
    ['0.0005', '0'],
    ['0.0015', '0.002'],
    ['0.0025', '0.002'],
    ['-12.3456', '-12.346'],
    ['1e20', '100000000000000000000'],
    ['1.5e-3', '0.002'],
    ['123456789012345678901234567.5', '123456789012345678901234567.5'],
  ])('%s is written %s', (value, text) => {
    expect(numberText(decimal(value))).toBe(text);
  });

  test.each([
    ['1', '3', '33.33'],
    ['2', '3', '66.67'],
    ['50', '50', '100'],
    ['1500', '1000', '150'],
    ['1', '800', '0.12'],
    ['3', '800', '0.38'],
    ['0', '10', '0'],
    ['5', '0', '0.00'],
    ['5', '-1', '0.00'],
    ['5', 'Infinity', '0.00'],
    ['5', 'NaN', '0.00'],
  ])('%s of %s is %s percent', (current, capacity, text) => {
    expect(percentText(decimal(current), decimal(capacity))).toBe(text);
  });

  test('nothing is a percentage of no capacity', () => {
    expect(percentText(decimal(5), null)).toBe('0.00');
  });
});

test('running statistics start with the first value', () => {
  const statistics = new RunningStatistics(decimal(10), 1000);
  const shown = () => {
    const { min, max, sum, avg, diff, rate } = statistics;
    return [min, max, sum, avg, diff, rate].map((one) => numberText(one));
  };
  expect(shown()).toEqual(['10', '10', '10', '10', '0', '0']);
  statistics.observe(decimal(20), 3000);
  expect(shown()).toEqual(['10', '20', '30', '15', '10', '5']);
  statistics.observe(decimal(25), 3500);
  expect(shown()).toEqual(['10', '25', '55', '18.333', '5', '10']);
  // A counter that began anew has no negative rate.
  statistics.observe(decimal(5), 4500);
  expect(shown()).toEqual(['5', '25', '60', '15', '0', '0']);
  statistics.observe(decimal(6), 4500);
  expect(shown().slice(4)).toEqual(['1', '0']);
});

test('CPU use of a kernel is milliseconds in a second, and percent of a core', () => {
  const series = new MetricSeries('first-value');
  const observe = (cpuMs: number, atMs: number) => {
    series.observe(
      'cpu_util',
      KERNEL_METRICS.cpu_util,
      { value: decimal(cpuMs), capacity: decimal(1000) },
      atMs,
    );
  };
  observe(200, 0);
  expect(series.valueMaps()['cpu_util']).toEqual({
    current: '0',
    capacity: '1000',
    pct: '0',
    unit_hint: 'percent',
    'stats.avg': '200',
    'stats.max': '200',
  });
  observe(7700, 5000);
  expect(series.valueMaps()['cpu_util']).toEqual({
    current: '1500',
    capacity: '1000',
    pct: '150',
    unit_hint: 'percent',
    'stats.avg': '3950',
    'stats.max': '7700',
  });
  expect(series.raw().get('cpu_util')?.value.toNumber()).toBe(7700);
});

test('a kernel’s metric without capacity is compared with its first value, a node’s with nothing', () => {
  const kernel = new MetricSeries('first-value');
  const node = new MetricSeries('as-measured');
  for (const [value, atMs] of [
    [100, 0],
    [250, 1000],
  ] as const) {
    kernel.observe('io_read', KERNEL_METRICS.io_read, { value: decimal(value), capacity: null }, atMs);
    node.observe('net_rx', NODE_METRICS.net_rx, { value: decimal(value), capacity: null }, atMs);
  }
  expect(kernel.valueMaps()['io_read']).toEqual({
    current: '250',
    capacity: '100',
    pct: '250',
    unit_hint: 'bytes',
    'stats.rate': '150',
  });
  expect(node.valueMaps()['net_rx']).toEqual({
    current: '150',
    capacity: null,
    pct: '0.00',
    unit_hint: 'bps',
  });
});

test('a counter made of readings that fall never falls', () => {
  const counter = new GrowingCounter(100);
  expect([150, 20, 50, 50].map((reading) => counter.observe(reading))).toEqual([150, 150, 180, 180]);
});
