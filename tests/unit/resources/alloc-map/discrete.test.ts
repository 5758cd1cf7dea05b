import { DiscretePropertyAllocMap } from '../../../../src/resources/alloc-map/discrete.js';
import { Decimal } from '../../../../src/resources/quantity/decimal.js';
import type { AllocationStrategy } from '../../../../src/resources/alloc-map/alloc-map.js';
import { amounts, ask, devices, entries, failureOf, giveBack, numbered, state } from '../amounts.js';

const map = (capacities: readonly (string | number)[], strategy: AllocationStrategy = 'EVENLY') =>
  new DiscretePropertyAllocMap({ deviceSlots: numbered(capacities), strategy });

// Names are the rows of spec/config-and-resources.md 5.7.
describe.each(['FILL', 'EVENLY'] as const)('either strategy: %s', (strategy) => {
  test('D1-D3: one, too many, given back', () => {
    const two = map([1, 1], strategy);
    const first = ask(two, 1);
    expect(first).toEqual([['a0', '1']]);
    expect(failureOf(() => ask(two, 3))).toBe('InsufficientResource');
    expect(state(two)).toEqual(['1', '0']);
    giveBack(two, first);
    expect(state(two)).toEqual(['0', '0']);
  });
});

test('D4: FILL uses up one device after the other', () => {
  const two = map([100, 100], 'FILL');
  const first = ask(two, 130);
  expect(first).toEqual([
    ['a0', '100'],
    ['a1', '30'],
  ]);
  expect(failureOf(() => ask(two, 71))).toBe('InsufficientResource');
  giveBack(two, first);
  expect(state(two)).toEqual(['0', '0']);
});

test('D5, D6: EVENLY spreads, the rest goes to the first', () => {
  const two = map([100, 100]);
  expect(ask(two, 130)).toEqual([
    ['a0', '65'],
    ['a1', '65'],
  ]);
  expect(ask(two, 15)).toEqual([
    ['a0', '8'],
    ['a1', '7'],
  ]);
  expect(state(two)).toEqual(['73', '72']);
  expect(() => ask(two, 99)).toThrow('allocating 99 out of 55');
});

test('D7, D8: unequal shares even out later', () => {
  const three = map([10, 10, 10]);
  expect(ask(three, 7)).toEqual([
    ['a0', '3'],
    ['a1', '2'],
    ['a2', '2'],
  ]);
  expect(ask(three, 23)).toEqual([
    ['a0', '7'],
    ['a1', '8'],
    ['a2', '8'],
  ]);
  expect(state(three)).toEqual(['10', '10', '10']);
});

test('D9: cores with two units', () => {
  const four = map([2, 2, 2, 2]);
  expect(ask(four, 4).map(([, amount]) => amount)).toEqual(['1', '1', '1', '1']);
  expect(ask(four, 2)).toEqual([
    ['a0', '1'],
    ['a1', '1'],
  ]);
  expect(failureOf(() => ask(four, 3))).toBe('InsufficientResource');
  expect(ask(four, 2)).toEqual([
    ['a2', '1'],
    ['a3', '1'],
  ]);
});

describe('unique and exclusive slots', () => {
  const SMALL = 'cuda.device:1g.5gb-mig';
  const LARGE = 'cuda.device:3g.20gb-mig';
  const mixed = (exclusive = ['cuda.device:*-mig', 'cuda.device', 'cuda.shares']) =>
    new DiscretePropertyAllocMap({
      deviceSlots: new Map([
        ...devices({ a0: '1', a1: '1' }, SMALL, 'unique'),
        ...devices({ a2: '1', a3: '1' }, 'cuda.device'),
        ...devices({ a4: '1' }, LARGE, 'unique'),
      ]),
      exclusiveSlots: new Set(exclusive),
    });

  test('D10: an excluded combination takes nothing', () => {
    const map = mixed();
    expect(failureOf(() => map.allocate(amounts({ 'cuda.device': 2, [SMALL]: 1 })))).toBe(
      'InvalidResourceCombination',
    );
    expect(state(map, 'cuda.device')).toEqual(['0', '0']);
  });

  test('D11: devices of the other slots do not count', () => {
    expect(ask(mixed(), 2, {}, 'cuda.device')).toEqual([
      ['a2', '1'],
      ['a3', '1'],
    ]);
    expect(failureOf(() => ask(mixed(), 3, {}, 'cuda.device'))).toBe('InsufficientResource');
  });

  test('D12-D14: a unique slot is given out once at a time', () => {
    const map = mixed();
    expect(map.allocate(amounts({ [SMALL]: 0 })).size).toBe(0);
    expect(failureOf(() => ask(map, '1.1', {}, SMALL))).toBe('InvalidResourceArgument');
    expect(failureOf(() => ask(map, 2, {}, SMALL))).toBe('InvalidResourceArgument');
    expect(ask(map, 1, {}, SMALL)).toEqual([['a0', '1']]);
    expect(ask(map, 1, {}, SMALL)).toEqual([['a1', '1']]);
    expect(failureOf(() => ask(map, 1, {}, SMALL))).toBe('InsufficientResource');
  });

  test.each([
    ['cuda.device', 'cuda.shares', true],
    ['cuda.device:1g-mig', 'cuda.device:2g-mig', true],
    ['cuda.device:1g', 'cuda.device', false],
    ['cpu', 'cuda.device', false],
  ])('%s and %s exclude each other: %s', (a, b, excluded) => {
    const map = new DiscretePropertyAllocMap({
      deviceSlots: new Map([...devices({ d0: '1' }, a), ...devices({ d1: '1' }, b)]),
      exclusiveSlots: new Set(['cuda.device:*-mig', 'cuda.device', 'cuda.shares']),
    });
    expect(failureOf(() => map.allocate(amounts({ [a]: 1, [b]: 1 })))).toBe(
      excluded ? 'InvalidResourceCombination' : 'no failure',
    );
  });

  test('patterns know sets of characters, and points are points', () => {
    const map = (pattern: string) =>
      new DiscretePropertyAllocMap({
        deviceSlots: devices({ d0: '1' }, 'a.1'),
        exclusiveSlots: new Set([pattern, 'b']),
      });
    const both = amounts({ 'a.1': 1, b: 1 });
    expect(failureOf(() => map('a.[0-4]').allocate(both))).toBe('InvalidResourceCombination');
    expect(failureOf(() => map('a.[!0-4]').allocate(both))).toBe('InsufficientResource');
    expect(failureOf(() => map('a?1').allocate(both))).toBe('InvalidResourceCombination');
    expect(failureOf(() => map('a.2').allocate(both))).toBe('InsufficientResource');
  });
});

test('D15: FILL keeps a fraction, EVENLY cuts it', () => {
  expect(ask(map([1, 1], 'FILL'), '1.5')).toEqual([
    ['a0', '1'],
    ['a1', '0.5'],
  ]);
  expect(ask(map([1, 1]), '1.5')).toEqual([['a0', '1']]);
  expect(ask(map([1, 1]), '0.5')).toEqual([]);
});

test('capacities below one are never given out, and that ends', () => {
  expect(failureOf(() => ask(map(['0.5', '0.5']), 1))).toBe('ResourceError');
});

test('negative amounts are passed over', () => {
  expect(map([1]).allocate(amounts({ x: -1 })).size).toBe(0);
});

test('a failing second slot takes back the first', () => {
  const two = new DiscretePropertyAllocMap({
    deviceSlots: new Map([...devices({ a0: '1' }, 'x'), ...devices({ b0: '1' }, 'y')]),
  });
  expect(failureOf(() => two.allocate(amounts({ x: 1, y: 2 })))).toBe('InsufficientResource');
  expect(state(two, 'x')).toEqual(['0']);
});

test('nothing goes beyond capacity or below zero', () => {
  const one = map([2]);
  const booking = (id: string, amount: number) => new Map([['x', new Map([[id, new Decimal(amount)]])]]);
  one.apply(booking('a0', 2));
  expect(
    failureOf(() => {
      one.apply(booking('a0', 1));
    }),
  ).toBe('ResourceError');
  expect(
    failureOf(() => {
      one.apply(booking('b0', 1));
    }),
  ).toBe('ResourceError');
  expect(
    failureOf(() => {
      one.free(booking('a0', 3));
    }),
  ).toBe('AssertionError');
  expect(state(one)).toEqual(['2']);
  one.clear();
  expect(state(one)).toEqual(['0']);
});

test('the error says slot, tag, request and what there is', () => {
  expect(() => ask(map([1, 1]), 3, { contextTag: 'cpu' })).toThrow(
    "InsufficientResource: DiscretePropertyAllocMap: insufficient allocatable amount! (x (tag: 'cpu'), allocating 3 out of 2)",
  );
});

test('results are in registration order, not in order of preference', () => {
  const three = map([1, 5, 3]);
  expect(ask(three, 3).map(([id]) => id)).toEqual(['a0', 'a1', 'a2']);
  expect(entries(three.allocations('x'))).toHaveLength(3);
});
