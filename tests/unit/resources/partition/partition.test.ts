import { alignMemory } from '../../../../src/resources/partition/memory-alignment.js';
import {
  type PartitionInput,
  partition,
  refuseOverAllocation,
} from '../../../../src/resources/partition/modes.js';
import { dealOut, type OwnerClaim } from '../../../../src/resources/partition/ownership.js';
import { Decimal, positionalText } from '../../../../src/resources/quantity/decimal.js';
import { amounts, entries, failureOf } from '../amounts.js';

const KIB = 1024;
const GIB = KIB ** 3;
const MIB = KIB ** 2;

// The tables of spec/config-and-resources.md 3.2 and 3.4.
test.each([
  [19951, 1000, 10, 18950, 1001],
  [19955, 1000, 10, 18960, 995],
  [19959, 1000, 10, 18960, 999],
  [16 * GIB, GIB, 16 * MIB, 16106127360, 1073741824],
  [16 * GIB + 5 * MIB, GIB, 16 * MIB, 16106127360, 1078984704],
  [16 * GIB + 12 * MIB, GIB, 16 * MIB, 16122904576, 1069547520],
  [512 * MIB, GIB, 16 * MIB, -536870912, 1073741824],
])('of %i less %i aligned to %i remain %i', (total, reserved, align, usable, actual) => {
  expect(alignMemory(BigInt(total), BigInt(reserved), BigInt(align))).toEqual({
    usableBytes: BigInt(usable),
    reservedBytes: BigInt(actual),
  });
});

test('aligned memory stays within one alignment of what is asked', () => {
  for (let total = 19_950n; total < 20_050n; total += 1n) {
    const { usableBytes, reservedBytes } = alignMemory(total, 1000n, 10n);
    expect(usableBytes % 10n).toBe(0n);
    expect(usableBytes + reservedBytes).toBe(total);
    expect(reservedBytes >= 990n && reservedBytes <= 1010n).toBe(true);
  }
});

type Totals = Record<string, readonly [amount: string | number, kind: 'discrete' | 'fraction']>;

function split(
  mode: PartitionInput['mode'],
  count: number,
  totals: Totals,
  system: Record<string, string | number> = {},
  manual: Record<string, string | number>[] = [],
) {
  const input: PartitionInput = {
    mode,
    totals: new Map(
      Object.entries(totals).map(([slot, [amount, kind]]) => [slot, { total: new Decimal(amount), kind }]),
    ),
    system: amounts(system),
    memoryAlignBytes: BigInt(16 * MIB),
    agents: Array.from({ length: count }, (_, index) => ({
      id: `agent-${String(index)}`,
      ...(manual[index] ? { manual: amounts(manual[index]) } : {}),
    })),
  };
  const shares = partition(input);
  if (mode === 'manual') refuseOverAllocation(input, shares);
  const of = (what: 'reserved' | 'reported' | 'scaling') => (slot: string) =>
    shares.map((share) => positionalText(share[what].get(slot) ?? new Decimal('NaN')));
  return { reserved: of('reserved'), reported: of('reported'), scaling: of('scaling') };
}

test('P1: SHARED keeps nothing back', () => {
  const { reserved, reported } = split('shared', 2, {
    cpu: [8, 'discrete'],
    'cuda.shares': ['1.0', 'fraction'],
  });
  expect(reserved('cpu')).toEqual(['0', '0']);
  expect(reserved('cuda.shares')).toEqual(['0', '0']);
  expect(reported('cpu')).toEqual(['8', '8']);
});

test('P2: SHARED with a reservation', () => {
  const { reserved } = split(
    'shared',
    1,
    { cpu: [8, 'discrete'], mem: [16 * GIB, 'discrete'] },
    { cpu: 2, mem: 4 * GIB },
  );
  expect(reserved('cpu')).toEqual(['2']);
  expect(reserved('mem')).toEqual([String(4 * GIB)]);
});

test.each<[string, number, Totals, Record<string, number>, string, string[]]>([
  ['P3', 2, { 'cuda.shares': ['1.0', 'fraction'] }, {}, 'cuda.shares', ['0.5', '0.5']],
  ['P4', 2, { cpu: [8, 'discrete'] }, {}, 'cpu', ['4', '4']],
  ['P5', 3, { cpu: [5, 'discrete'] }, {}, 'cpu', ['3', '3', '4']],
  ['P6', 2, { cpu: [16, 'fraction'] }, { cpu: 4 }, 'cpu', ['10', '10']],
  ['P10', 2, { cpu: [4, 'discrete'], s: ['1.0', 'fraction'] }, {}, 'cpu', ['2', '2']],
  ['P10', 2, { cpu: [4, 'discrete'], s: ['1.0', 'fraction'] }, {}, 's', ['0.5', '0.5']],
  ['P11', 2, { 'cuda.shares': ['4.0', 'fraction'] }, {}, 'cuda.shares', ['2', '2']],
])('%s: AUTO_SPLIT over %i keeps from each', (_, count, totals, system, slot, expected) => {
  expect(split('auto-split', count, totals, system).reserved(slot)).toEqual(expected);
});

test('P12: the rest goes to the first agents', () => {
  expect(split('auto-split', 2, { cpu: [8, 'discrete'] }, { cpu: 1 }).reported('cpu')).toEqual(['4', '3']);
});

test('P13, P14: memory', () => {
  const odd = split('auto-split', 2, { mem: [16 * GIB + 5 * MIB, 'discrete'] }, { mem: GIB });
  expect(odd.reserved('mem')).toEqual(['9129426944', '9129426944']);
  expect(odd.reported('mem')).toEqual(['8053063680', '8053063680']);
  const three = split('auto-split', 3, { mem: [16 * GIB, 'discrete'] }, { mem: GIB });
  expect(three.reported('mem')).toEqual(['5368709120', '5368709120', '5368709120']);
});

test('P15: a third has 28 digits', () => {
  const third = '0.3333333333333333333333333333';
  const { reported, scaling } = split('auto-split', 3, { s: ['1.0', 'fraction'] });
  expect(reported('s')).toEqual([third, third, third]);
  expect(scaling('s')[0]).toBe(third);
});

test('P7-P9: MANUAL', () => {
  const mem = (gib: number): readonly [number, 'discrete'] => [gib * GIB, 'discrete'];
  const two = split('manual', 2, { cpu: [16, 'discrete'], mem: mem(32) }, {}, [
    { cpu: 4, mem: 8 * GIB },
    { cpu: 4, mem: 8 * GIB },
  ]);
  expect(two.reserved('cpu')).toEqual(['12', '12']);
  expect(two.reserved('mem')).toEqual([String(24 * GIB), String(24 * GIB)]);
  expect(two.scaling('cpu')).toEqual(['0.25', '0.25']);
  const shares = split('manual', 1, { cpu: [16, 'discrete'], mem: mem(32), s: ['1.0', 'fraction'] }, {}, [
    { cpu: 8, mem: 16 * GIB, s: '0.5' },
  ]);
  expect(shares.reserved('s')).toEqual(['0.5']);
  const one = split('manual', 1, { cpu: [8, 'discrete'], mem: mem(16) }, {}, [{ cpu: 3, mem: 8 * GIB }]);
  expect(one.reserved('cpu')).toEqual(['5']);
  expect(one.reserved('mem')).toEqual([String(8 * GIB)]);
});

test('P16, P17: what the arithmetic of MANUAL lets through', () => {
  const of = (cpu: number) => () =>
    split('manual', 2, { cpu: [8, 'discrete'] }, { cpu: 2 }, [{ cpu }, { cpu }]);
  expect(of(5)().reported('cpu')).toEqual(['5', '5']);
  expect(of(6)).toThrow('was manually allocated 8 across all agents when total capacity is 6.');
  expect(failureOf(of(6))).toBe('ResourceOverAllocatedError');
});

test('MANUAL must name what is there, and only that counts', () => {
  const node: Totals = { cpu: [8, 'discrete'], 'cuda.device': [2, 'discrete'] };
  expect(() => split('manual', 1, node, {}, [{ cpu: 4 }])).toThrow(
    'slot_name=cuda.device not found in config',
  );
  expect(
    split('manual', 1, node, {}, [{ cpu: 4, 'cuda.device': 1, 'rocm.device': 9 }]).reported('cuda.device'),
  ).toEqual(['1']);
  expect(split('manual', 1, { x: [0, 'discrete'] }, {}, [{}]).scaling('x')).toEqual(['0']);
});

test('a node that has less than is to be kept', () => {
  expect(() => split('shared', 1, { cpu: [1, 'discrete'] }, { cpu: 2 })).toThrow(
    'Slot cpu reserved for 2, which is larger than total slot available 1',
  );
  expect(() => split('shared', 1, { mem: [0, 'discrete'] })).toThrow(
    "The resource slot 'mem' is not sufficient (zero or below zero).",
  );
});

describe('dealing out', () => {
  const claim = (id: string, target: string | number, more: Partial<OwnerClaim> = {}): OwnerClaim => ({
    id,
    target: new Decimal(target),
    used: new Map(),
    current: new Map(),
    ...more,
  });
  const five = amounts({ a: 1, b: 1, c: 1, d: 1, e: 1 });
  const deal = (devices: ReadonlyMap<string, Decimal>, ...claims: OwnerClaim[]) =>
    Object.fromEntries([...dealOut('x', devices, claims)].map(([id, holding]) => [id, entries(holding)]));
  const idsOf = (dealt: Record<string, [string, string][]>) =>
    Object.values(dealt).map((holding) => holding.map(([id]) => id).join(''));

  test('whole devices in order', () => {
    expect(idsOf(deal(five, claim('1', 2), claim('2', 2), claim('3', 1)))).toEqual(['ab', 'cd', 'e']);
  });

  test('cut only where a target ends', () => {
    const three = amounts({ a: 1, b: 1, c: 1 });
    expect(deal(three, claim('1', '1.5'), claim('2', '1.5'))).toEqual({
      '1': [
        ['a', '1'],
        ['b', '0.5'],
      ],
      '2': [
        ['b', '0.5'],
        ['c', '1'],
      ],
    });
  });

  test('what is over belongs to nobody', () => {
    expect(idsOf(deal(five, claim('1', 2), claim('2', 2)))).toEqual(['ab', 'cd']);
  });

  test('used devices stay, then held ones, then others', () => {
    const dealt = deal(
      five,
      claim('1', 2, { current: amounts({ a: 1, b: 1 }) }),
      claim('2', 2, { used: amounts({ a: 1 }), current: amounts({ d: 1, e: 1 }) }),
    );
    expect(idsOf(dealt)).toEqual(['bc', 'ad']);
  });

  test('more in use than the target: the others make do with the rest', () => {
    const used = amounts({ a: 1, b: 1, c: 1, d: 1 });
    expect(idsOf(deal(five, claim('1', 2, { used }), claim('2', 2)))).toEqual(['abcd', 'e']);
  });

  test('devices by id come before devices by amount', () => {
    expect(idsOf(deal(five, claim('1', 2), claim('2', 2, { deviceIds: ['a', 'c'] })))).toEqual(['bd', 'ac']);
    expect(() =>
      deal(five, claim('1', 1, { deviceIds: ['a'] }), claim('2', 1, { deviceIds: ['a'] })),
    ).toThrow('device a of x is given to both agent 1 and agent 2');
  });
});
