import { childEnvironment, parseEnvironText } from '../../../src/kernel-runner/environment.js';
import { parseOptions, UsageError } from '../../../src/kernel-runner/options.js';

const none = () => false;

test('fixed, inherited and missing variables', () => {
  const environment = childEnvironment({
    own: { HOME: '/root', LD_PRELOAD: '/x.so', MINE: '1', LANG: 'ko_KR' },
    environText: '',
    work: '/home/work',
    pathExists: none,
  });
  expect(environment).toEqual({
    HOME: '/home/work',
    LANG: 'C.UTF-8',
    TERM: 'xterm',
    MINE: '1',
    LD_PRELOAD: '/x.so',
    LD_LIBRARY_PATH: '',
    SSH_AUTH_SOCK: '',
    SSH_AGENT_PID: '',
    SHELL: '/bin/bash',
    PATH: '/home/work/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  });
});

test('environ.txt wins, and stops at a line without an equals sign', () => {
  expect(parseEnvironText('A=1\nB=x=y\n\nC=\nbroken\nD=2\n')).toEqual({ A: '1', B: 'x=y', C: '' });
  const environment = childEnvironment({
    own: { PATH: '/bin', A: '0' },
    environText: 'A=1\nPATH=/opt/bin:/usr/local/cuda/bin:/bin',
    work: '/w',
    pathExists: (path) => path === '/usr/local/cuda/bin',
  });
  expect(environment['A']).toBe('1');
  expect(environment['PATH']).toBe('/w/.local/bin:/usr/local/cuda/bin:/opt/bin:/bin');
});

const argv = (changes: Record<string, string | undefined>) =>
  Object.entries({
    'repl-in': 'ipc:///run/in',
    'repl-out': 'tcp://*:2001',
    runtime: 'python',
    work: '/w',
    config: '/c',
    ...changes,
  } as Record<string, string | undefined>).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );

test('options are read with defaults', () => {
  expect(parseOptions(argv({}), none)).toMatchObject({
    runtime: 'python',
    runtimePath: 'python3',
    work: '/w',
  });
  expect(parseOptions(argv({ runtime: 'shell' }), none).runtimePath).toBe('/bin/sh');
  expect(parseOptions(argv({ runtime: 'shell' }), () => true).runtimePath).toBe('/bin/bash');
});

test.each([
  [{ work: undefined }, '--work is missing'],
  [{ runtime: 'cobol' }, "'cobol' is none of python, node, shell, app"],
  [{ 'repl-in': 'udp://x' }, 'is no ipc:// or tcp:// endpoint'],
  [{ 'repl-in': `ipc:///${'x'.repeat(200)}` }, 'longer than 107 bytes'],
  [{ unknown: 'x' }, 'unknown'],
])('%p is refused', (changes, message) => {
  const parse = () => parseOptions(argv(changes), none);
  expect(parse).toThrow(UsageError);
  expect(parse).toThrow(message);
});
