import { environmentFileOf } from '../../../src/metadata/environment-file.js';
import { parseKernelId } from '../../../src/core/ids.js';

const id = parseKernelId('8f6a5f0e-0000-4000-8000-00000000000a');

test('the environment of a kernel is read where it was made, whatever the scratch root is by now (R12)', () => {
  expect(environmentFileOf({ id, scratchRoot: '/old' }, '/new')).toBe(`/old/${id}/config/environ.txt`);
});

test('a kernel whose record does not say where it was made is looked for below the root of now', () => {
  expect(environmentFileOf({ id, scratchRoot: null }, '/new')).toBe(`/new/${id}/config/environ.txt`);
});
