import { distroOfLdd, matchDistro } from '../../../../src/backends/docker/base-distro.js';

test.each([
  ['ldd (Ubuntu GLIBC 2.35-0ubuntu3.8) 2.35\nCopyright (C) 2022\n', 'ubuntu22.04'],
  ['ldd (Debian GLIBC 2.36-9+deb12u9) 2.36\r\n', 'ubuntu22.04'],
  ['ldd (GNU libc) 2.17\n', 'centos7.6'],
  ['ldd (GNU libc) 2.12\n', 'centos7.6'],
  ['ldd (GNU libc) 2.99\n', 'ubuntu24.04'],
  ['ldd (GNU libc) 2.31.1\n', 'ubuntu20.04'],
  ['a warning of some hook\nldd (GNU libc) 2.28\n', 'centos8.0'],
  ['musl libc (x86_64)\r\nVersion 1.2.4\r\n', 'alpine3.8'],
  ['warning\nmusl libc (aarch64)\nVersion 1.1.19\n', 'alpine3.8'],
])('%j is %s', (text, distro) => {
  expect(distroOfLdd(text)).toBe(distro);
});

test.each(['', 'sh: ldd: not found\n', 'ldd (GNU libc) stable\n'])('%j says nothing', (text) => {
  expect(distroOfLdd(text)).toBeNull();
});

test('the newest that is not newer wins, then the oldest; without a version the newest', () => {
  const keys = ['ubuntu18.04', 'ubuntu22.04', 'ubuntu20.04', 'centos7.6', 'centos7.10', 'alpine3.8'];
  expect(matchDistro(keys, 'ubuntu20.04')).toBe('ubuntu20.04');
  expect(matchDistro(keys, 'ubuntu21.10')).toBe('ubuntu20.04');
  expect(matchDistro(keys, 'ubuntu24.04')).toBe('ubuntu22.04');
  expect(matchDistro(keys, 'ubuntu16.04')).toBe('ubuntu18.04');
  expect(matchDistro(keys, 'ubuntu')).toBe('ubuntu22.04');
  expect(matchDistro(keys, 'centos7.9')).toBe('centos7.6');
  expect(matchDistro(keys, 'alpine3.11')).toBe('alpine3.8');
});

test('a static one of the C library wins over all', () => {
  const keys = ['ubuntu20.04', 'static-gnu', 'static-musl'];
  expect(matchDistro(keys, 'ubuntu20.04')).toBe('static-gnu');
  expect(matchDistro(keys, 'debian12')).toBe('static-gnu');
  expect(matchDistro(keys, 'alpine3.8')).toBe('static-musl');
  expect(matchDistro(['static-gnu', 'alpine3.8'], 'alpine3.20')).toBe('alpine3.8');
});

test('a name that nothing is made for is refused', () => {
  expect(() => matchDistro(['ubuntu20.04'], 'debian12')).toThrow("'debian12' is not supported");
  expect(() => matchDistro(['ubuntu20.04'], 'alpine3.8')).toThrow('alpine3.8');
  expect(() => matchDistro([], 'ubuntu20.04')).toThrow('there is nothing');
});
