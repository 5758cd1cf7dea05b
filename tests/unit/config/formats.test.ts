import {
  parseAffinityPolicy,
  parseAmount,
  parseBoolean,
  parseInteger,
  parseLevel,
  parseOwner,
  parsePortRange,
} from '../../../src/config/formats.js';
import { formatHostPort, parseHostPort, parseHostPortList } from '../../../src/config/host-port.js';
import { parseDecimalSizeBytes, parseSizeBytes } from '../../../src/config/size.js';

describe('sizes', () => {
  test.each([
    ['1024', 1024],
    ['1_024', 1024],
    ['1024 ', 1024],
    [1024, 1024],
    ['1k', 1024],
    ['1K', 1024],
    ['1KB', 1024],
    ['1KiB', 1024],
    ['1 K', 1024],
    ['1 kib', 1024],
    ['2.5G', 2_684_354_560],
    ['.5k', 512],
    ['10 b', 10],
    ['10 bytes', 10],
    ['4 GiB', 4_294_967_296],
    ['1.0', 1],
    ['536870912.000000', 536_870_912],
    ['0.1g', 107_374_182],
    ['0', 0],
  ])('%p is %p bytes', (written, bytes) => {
    expect(parseSizeBytes(written)).toBe(bytes);
  });
  test.each([
    '',
    'k',
    'b',
    '1kk',
    '1ki',
    'nan',
    '1e3',
    '0x10',
    '1.5',
    '10b',
    '1ib',
    'inf',
    'Infinite',
    '-1K',
  ])('%p is refused', (written) => {
    expect(() => parseSizeBytes(written)).toThrow();
  });
  test.each([[-1], [1.5], [true], [null], [['1k']], ['1y']])('%p is refused', (written) => {
    expect(() => parseSizeBytes(written)).toThrow();
  });
  test.each([
    ['10M', 10_000_000],
    ['10MB', 10_000_000],
    ['10MiB', 10_485_760],
    ['1.5k', 1500],
    [7, 7],
  ])('the size of a log file %p is %p bytes', (written, bytes) => {
    expect(parseDecimalSizeBytes(written)).toBe(bytes);
  });
});

describe('addresses', () => {
  test.each([
    ['10.0.0.1:6001', '10.0.0.1', 6001],
    ['[::1]:6001', '::1', 6001],
    ['::1:6001', '::1', 6001],
    ['[0:0:0:0:0:0:0:1]:6001', '::1', 6001],
    [':6001', '', 6001],
    ['http://x:1', 'http://x', 1],
    [['node', 7], 'node', 7],
    [['node', '7'], 'node', 7],
    [{ host: 'node', port: 7 }, 'node', 7],
  ])('%p', (written, host, port) => {
    expect(parseHostPort(written)).toEqual({ host, port });
  });
  test.each([
    ['node', 'value as string must contain both address and number'],
    [['a', 1, 2], 'value as array must contain only two values for address and number'],
    [{ host: 'a' }, 'value as map must contain "host" and "port" keys'],
    ['a:b', 'port number must be an integer'],
    ['a:', 'port number must be an integer'],
    ['a:-1', 'port number must be an integer'],
    ['a:0', 'port number must be between 1 and 65535'],
    ['a:65536', 'port number must be between 1 and 65535'],
    [6001, 'expected "host:port", [host, port] or { host, port }'],
  ])('%p is refused: %s', (written, message) => {
    expect(() => parseHostPort(written)).toThrow(message);
  });
  test('a bare pair is a list of two, as in the original', () => {
    expect(() => parseHostPortList(['127.0.0.1', 2379])).toThrow('both address and number');
    expect(parseHostPortList(['a:1', { host: 'b', port: 2 }])).toHaveLength(2);
  });
  test('IPv6 is shown in brackets', () => {
    expect(formatHostPort({ host: '::1', port: 1 })).toBe('[::1]:1');
  });
});

test.each([
  [true, true],
  ['YES', true],
  ['on', true],
  [1, true],
  ['t', true],
  [false, false],
  ['n', false],
  [0, false],
])('the flag %p is %p', (written, value) => {
  expect(parseBoolean(written)).toBe(value);
});
test.each([['maybe'], [2], [null], [[true]], [{}]])('%p is no flag', (written) => {
  expect(() => parseBoolean(written)).toThrow('true or false');
});

test.each([
  [2, 2],
  ['2', 2],
  ['1.0', 1],
  [true, 1],
  [-3, -3],
])('%p is the integer %p', (written, value) => {
  expect(parseInteger(written)).toBe(value);
});
test.each([[1.5], ['1.5'], ['x'], [null], [1e300]])('%p is no integer', (written) => {
  expect(() => parseInteger(written)).toThrow('expected an integer');
});

test.each([
  [0.5, '0.5'],
  ['0.50', '0.5'],
  ['1e2', '100'],
  ['0.30000000000000000000000000001', '0.30000000000000000000000000001'],
])('the amount %p is %p', (written, value) => {
  expect(parseAmount(written)).toBe(value);
});
test.each([[-1], ['-0.1']])('a negative amount %p is refused', (written) => {
  expect(() => parseAmount(written)).toThrow(
    'All allocated device resource values must not be a negative value',
  );
});

test.each([
  [-1, null],
  ['-1', null],
  ['', null],
  [1000, 1000],
  ['1000', 1000],
  ['work', 'work'],
])('the owner %p is %p', (written, value) => {
  expect(parseOwner(written)).toBe(value);
});
test('an owner of another type is refused', () => {
  expect(() => parseOwner([1])).toThrow('value must be either int or str');
});

test.each([[[30_000, 31_000]], [['30000', '31000']], ['30000-31000'], ['30000,31000']])(
  'the port range %p',
  (written) => {
    expect(parsePortRange(written)).toEqual({ first: 30_000, last: 31_000 });
  },
);
test.each([
  [[30_000], 'port_range must be a tuple of two integers'],
  [['a', 'b'], 'port_range must be a tuple of two integers'],
  [[31_000, 30_000], 'invalid port_range: start=31000 > end=30000'],
  [[0, 10], 'from 1 to 65535'],
  [30_000, 'port_range must be a tuple of two integers'],
])('the port range %p is refused', (written, message) => {
  expect(() => parsePortRange(written)).toThrow(message);
});

test.each([
  ['interleaved', 'INTERLEAVED'],
  ['PREFER_SINGLE_NODE', 'PREFER_SINGLE_NODE'],
  [0, 'PREFER_SINGLE_NODE'],
  [1, 'INTERLEAVED'],
])('the affinity policy %p is %p', (written, value) => {
  expect(parseAffinityPolicy(written)).toBe(value);
});
test.each([['prefer-single-node'], ['PACKED'], [2]])('the affinity policy %p is refused', (written) => {
  expect(() => parseAffinityPolicy(written)).toThrow(`Invalid affinity policy: ${String(written)}`);
});

test('levels are read in any case, and only by their whole name', () => {
  expect(parseLevel('warning')).toBe('WARNING');
  expect(() => parseLevel('warn')).toThrow('expected one of');
});
