import { modeText } from '../../../../src/backends/files/file-mode.js';

test('modes look as ls shows them', () => {
  expect(modeText(0o100644)).toBe('-rw-r--r--');
  expect(modeText(0o040755)).toBe('drwxr-xr-x');
  expect(modeText(0o041777)).toBe('drwxrwxrwt');
  expect(modeText(0o106640)).toBe('-rwSr-S---');
  expect(modeText(0o104755)).toBe('-rwsr-xr-x');
  expect(modeText(0o120777)).toBe('lrwxrwxrwx');
  expect(modeText(0o010600)).toBe('prw-------');
  expect(modeText(0o140700)).toBe('srwx------');
});
