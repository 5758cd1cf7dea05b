import type { AllocationStrategy } from '../../../../src/resources/alloc-map/alloc-map.js';
import { FractionAllocMap } from '../../../../src/resources/alloc-map/fraction.js';
import { Decimal } from '../../../../src/resources/quantity/decimal.js';
import { ask, devices, failureOf, giveBack, numbered, state } from '../amounts.js';

const map = (
  capacities: readonly (string | number)[],
  strategy: AllocationStrategy = 'EVENLY',
  quantum = '0.01',
) => new FractionAllocMap({ deviceSlots: numbered(capacities), strategy, quantum: new Decimal(quantum) });
const ones = (count: number): string[] => Array.from({ length: count }, () => '1.0');
const got = (...pairs: [string, string][]) => pairs;
const SMALL = ['0.05', '0.1', '0.2', '0.3', '0'];
const FALLING = ['0.8', '0.75', '0.7', '0.3', '0'];
const MIXED = ['1', '1.5', '2', '3', '3', '4', '4.5', '5', '5'];

// Names are the rows of spec/config-and-resources.md 5.7.
test('R1', () => {
  const two = map(['1', '1'], 'FILL');
  expect(ask(two, '1.5')).toEqual(got(['a0', '1'], ['a1', '0.5']));
  expect(failureOf(() => ask(two, '1.5'))).toBe('InsufficientResource');
});

test('R2', () => {
  const eight = map(ones(8), 'FILL');
  expect(ask(eight, '7.95').map(([, amount]) => amount)).toEqual(['1', '1', '1', '1', '1', '1', '1', '0.95']);
  expect(failureOf(() => ask(eight, '1.0'))).toBe('InsufficientResource');
});

test('R3', () => {
  const two = map(['1', '1'], 'FILL', '0.00001');
  for (let turn = 0; turn < 1000; turn += 1) ask(two, '0.00001');
  expect(state(two)).toEqual(['0.005', '0.005']);
  giveBack(two, [['a0', '0.00001']]);
  expect(state(two)[0]).toBe('0.00499');
});

test('R4, R5: too much, and too little on each', () => {
  expect(() => ask(map(SMALL), '0.66')).toThrow('allocating 0.66 out of 0.65');
  expect(() => ask(map(SMALL), '0.06', { minMemory: new Decimal('0.6') })).toThrow('out of 0)');
});

test('R6: the best fitting device first', () => {
  const five = map(SMALL);
  for (let turn = 0; turn < 20; turn += 1) ask(five, '0.01');
  expect(state(five)).toEqual(['0.05', '0.1', '0.05', '0', '0']);
});

test.each([
  ['R7', '0.2', undefined, got(['a2', '0.2'])],
  ['R7 with min_memory', '0.2', '0.25', got(['a3', '0.2'])],
  ['R8', '0.5', undefined, got(['a2', '0.2'], ['a3', '0.3'])],
  ['R9', '0.65', undefined, got(['a0', '0.05'], ['a1', '0.1'], ['a2', '0.2'], ['a3', '0.3'])],
  ['R10', '0.6', '0.1', got(['a1', '0.1'], ['a2', '0.2'], ['a3', '0.3'])],
])('%s', (_, amount, minMemory, expected) => {
  expect(ask(map(SMALL), amount, { minMemory: minMemory ? new Decimal(minMemory) : undefined })).toEqual(
    expected,
  );
});

test.each([
  ['R11', ['0.3', '0.3', '0.9'], '1', undefined, got(['a0', '0.3'], ['a1', '0.3'], ['a2', '0.4'])],
  ['R12', FALLING, '2.31', undefined, got(['a0', '0.67'], ['a1', '0.67'], ['a2', '0.67'], ['a3', '0.3'])],
  ['R13', FALLING, '2', undefined, got(['a0', '0.67'], ['a1', '0.67'], ['a2', '0.66'])],
  ['R14', ['2', '3', '3', '5'], '6', undefined, got(['a1', '3'], ['a2', '3'])],
  ['R15', MIXED, '6', '2.5', got(['a3', '3'], ['a4', '3'])],
  ['R16', MIXED, '11', '0.84', got(['a3', '2.75'], ['a4', '2.75'], ['a5', '2.75'], ['a6', '2.75'])],
])('%s', (_, capacities, amount, minMemory, expected) => {
  const evenly = map(capacities);
  expect(ask(evenly, amount, { minMemory: minMemory ? new Decimal(minMemory) : undefined })).toEqual(
    expected,
  );
});

test('R17: equal devices are taken from the tail', () => {
  const eight = map(ones(8));
  ask(eight, '6');
  expect(state(eight)).toEqual(['0', '0', '1', '1', '1', '1', '1', '1']);
});

test.each<[string, AllocationStrategy, string, [string, string][] | string]>([
  ['R18', 'FILL', '0.5', got(['a0', '0.5'])],
  ['R18', 'EVENLY', '0.5', got(['a1', '0.5'])],
  ['R19', 'EVENLY', '1.5', got(['a0', '0.75'], ['a1', '0.75'])],
  ['R19', 'FILL', '1.5', got(['a0', '1'], ['a1', '0.5'])],
  ['R20', 'FILL', '0.24', 'NotMultipleOfQuantum'],
  ['R20', 'EVENLY', '0.24', 'NotMultipleOfQuantum'],
  ['R21', 'EVENLY', '1.75', got(['a0', '0.75'], ['a1', '0.75'])],
  ['R22', 'FILL', '1.75', got(['a0', '1'], ['a1', '0.75'])],
  ['R23', 'EVENLY', '0.52', got(['a1', '0.5'])],
  ['R23', 'FILL', '0.52', got(['a0', '0.5'])],
  ['R23', 'EVENLY', '0.42', got(['a1', '0.25'])],
  ['R23', 'FILL', '0.42', got(['a0', '0.25'])],
  ['R24', 'FILL', '3.99', 'InsufficientResource'],
  ['R24', 'EVENLY', '3.99', 'InsufficientResource'],
])('%s %s, quantum .25: %s', (_, strategy, amount, expected) => {
  const two = map(['1', '1'], strategy, '0.25');
  if (typeof expected === 'string') expect(failureOf(() => ask(two, amount))).toBe(expected);
  else {
    expect(ask(two, amount)).toEqual(expected);
    giveBack(two, expected);
  }
  expect(state(two)).toEqual(['0', '0']);
});

test('R20: the text says why', () => {
  expect(() => ask(map(['1'], 'FILL', '0.25'), '0.24')).toThrow('actual calculated amount is zero');
});

test('R25: a quantum that does not divide the capacity', () => {
  expect(ask(map(['1', '1'], 'FILL', '0.3'), '0.5')).toEqual(got(['a0', '0.3']));
});

test('R26: unique partitions beside shares', () => {
  const MIG = 'cuda.device:1g-mig';
  const mixed = () =>
    new FractionAllocMap({
      deviceSlots: new Map([
        ...devices({ a0: '1', a1: '1' }, MIG, 'unique'),
        ...devices({ a2: '1', a3: '1' }, 'cuda.shares'),
      ]),
      strategy: 'FILL',
    });
  expect(ask(mixed(), '2.0', {}, 'cuda.shares')).toEqual(got(['a2', '1'], ['a3', '1']));
  expect(failureOf(() => ask(mixed(), '2.5', {}, 'cuda.shares'))).toBe('InsufficientResource');
  expect(failureOf(() => ask(mixed(), '0.3', {}, MIG))).toBe('InvalidResourceArgument');
  expect(failureOf(() => ask(mixed(), '1.5', {}, MIG))).toBe('InvalidResourceArgument');
});

test('R27: half-even at the hundredth', () => {
  expect(failureOf(() => ask(map(['1']), '0.005'))).toBe('NotMultipleOfQuantum');
  expect(ask(map(['1']), '0.015')).toEqual(got(['a0', '0.02']));
  expect(ask(map(['1']), '0.999')).toEqual(got(['a0', '1']));
});

test('rounding up never books more than a device has', () => {
  const narrow = map(['0.015'], 'EVENLY', '0.001');
  expect(ask(narrow, '0.015')).toEqual(got(['a0', '0.015']));
  expect(map(['0.335', '0.335'], 'EVENLY', '0.005').totalFree('x').toString()).toBe('0.67');
  expect(ask(map(['0.335', '0.335'], 'EVENLY', '0.005'), '0.67')).toEqual(
    got(['a0', '0.335'], ['a1', '0.33']),
  );
});

test('a quantum above the capacity leaves nothing to give', () => {
  expect(failureOf(() => ask(map(['0.2'], 'EVENLY', '0.25'), '0.2'))).toBe('NotMultipleOfQuantum');
});

describe('the guard against fragmentation, quantum .1, capacity 1', () => {
  const withFree = (free: readonly string[], strategy: AllocationStrategy) => {
    const gpus = new FractionAllocMap({
      deviceSlots: numbered(
        free.map(() => '1'),
        'x',
        'gpu',
      ),
      strategy,
      quantum: new Decimal('0.1'),
    });
    const taken = free.map((amount, index): [string, Decimal] => [
      `gpu${String(index)}`,
      new Decimal(1).minus(amount),
    ]);
    gpus.apply(new Map([['x', new Map(taken)]]));
    return gpus;
  };
  const refused = 'FractionalResourceFragmented';
  const times = (count: number, free: string) => Array.from({ length: count }, () => free);

  test.each<[string, string[], string, [string, string][] | string, [string, string][] | string]>([
    [
      'G1',
      ['.5', '1', '1', '1'],
      '1.4',
      got(['gpu1', '1'], ['gpu2', '0.4']),
      got(['gpu2', '0.7'], ['gpu3', '0.7']),
    ],
    [
      'G2',
      ['.7', '.7', '1', '1'],
      '2.0',
      got(['gpu2', '1'], ['gpu3', '1']),
      got(['gpu2', '1'], ['gpu3', '1']),
    ],
    ['G3', ['.5', '.5', '1', '1'], '2.8', refused, refused],
    ['G4', times(4, '.8'), '3.6', refused, refused],
    ['G5', ['.2', '1'], '1.6', refused, refused],
    ['G6', ['.7', '.8'], '1.5', got(['gpu1', '0.8'], ['gpu0', '0.7']), got(['gpu0', '0.7'], ['gpu1', '0.8'])],
    [
      'G7',
      times(4, '.5'),
      '1.5',
      got(['gpu0', '0.5'], ['gpu1', '0.5'], ['gpu2', '0.5']),
      got(['gpu1', '0.5'], ['gpu2', '0.5'], ['gpu3', '0.5']),
    ],
    ['G8', times(4, '.2'), '1.4', refused, refused],
    [
      'G9',
      times(8, '.3'),
      '1.8',
      [0, 1, 2, 3, 4, 5].map((index) => [`gpu${String(index)}`, '0.3']),
      [2, 3, 4, 5, 6, 7].map((index) => [`gpu${String(index)}`, '0.3']),
    ],
    ['G10', times(8, '.3'), '0.8', refused, refused],
    ['G11', ['1', '1'], '3.0', refused, refused],
    ['G12', ['1'], '1.1', refused, refused],
    ['G12', ['1'], '0.7', got(['gpu0', '0.7']), got(['gpu0', '0.7'])],
    ['G13', times(8, '1'), '1.1', got(['gpu0', '1'], ['gpu1', '0.1']), got(['gpu6', '0.5'], ['gpu7', '0.5'])],
  ])('%s', (_, free, amount, filled, spread) => {
    for (const [strategy, expected] of [
      ['FILL', filled],
      ['EVENLY', spread],
    ] as const) {
      const gpus = withFree(free, strategy);
      const before = state(gpus);
      if (typeof expected === 'string') {
        expect(failureOf(() => ask(gpus, amount, { allowFragmentation: false }))).toBe(expected);
        expect(state(gpus)).toEqual(before);
      } else expect(ask(gpus, amount, { allowFragmentation: false })).toEqual(expected);
    }
  });

  test('every multiple of a tenth on eight free devices', () => {
    for (let tenths = 1; tenths <= 80; tenths += 1) {
      const amount = new Decimal(tenths).dividedBy(10);
      const filled = ask(withFree(times(8, '1'), 'FILL'), String(amount), { allowFragmentation: false });
      expect(filled).toHaveLength(amount.ceil().toNumber());
      const spread = ask(withFree(times(8, '1'), 'EVENLY'), String(amount), { allowFragmentation: false });
      expect(spread.length).toBeGreaterThanOrEqual(filled.length);
      for (const [, granted] of [...filled, ...spread])
        expect(new Decimal(granted).times(10).isInteger()).toBe(true);
    }
  });
});
