import { type AgentBooks, examine } from '../../../src/agent/examination.js';
import { parseKernelId } from '../../../src/core/ids.js';

const A = parseKernelId('a0000000-0000-4000-8000-000000000000');
const B = parseKernelId('b0000000-0000-4000-8000-000000000000');

type Book = AgentBooks['kernels'] extends Iterable<infer Kernel> ? Kernel : never;

const kernel = (some: Partial<Book>): Book => ({
  id: A,
  termination: null,
  allocation: null,
  ports: null,
  ...some,
});
const allocation: Book['allocation'] = {} as NonNullable<Book['allocation']>;
const ports = { booked: [30001] } as unknown as NonNullable<Book['ports']>;

test('books that agree are no finding', () => {
  const kernels = [kernel({ allocation, ports })];
  expect(examine({ kernels, allocated: new Set([A]), holders: new Map([[30001, A]]) })).toEqual([]);
});

test('devices and ports of a kernel that is not here are findings', () => {
  expect(examine({ kernels: [], allocated: new Set([A]), holders: new Map([[30001, A]]) })).toEqual([
    `devices are allocated to kernel ${A}, which is not here`,
    `port 30001 is held by kernel ${A}, which is not here`,
  ]);
});

test('a kernel that uses what is not written down as its own is a finding', () => {
  const kernels = [kernel({ allocation, ports })];
  expect(examine({ kernels, allocated: new Set(), holders: new Map([[30001, B]]) })).toEqual([
    `port 30001 is held by kernel ${B}, which is not here`,
    `kernel ${A} uses devices that are not allocated to it`,
    `kernel ${A} uses port 30001, which it does not hold`,
  ]);
});

test('a kernel that ends may have given things back already', () => {
  const termination = { reason: 'user-requested' } as unknown as Book['termination'];
  const kernels = [kernel({ allocation, ports, termination })];
  expect(examine({ kernels, allocated: new Set(), holders: new Map() })).toEqual([]);
});
