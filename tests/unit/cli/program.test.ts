import { ConfigError } from '../../../src/config/index.js';
import { RuntimeError } from '../../../src/core/errors.js';
import { buildProgram } from '../../../src/cli/program.js';
import { runCommand } from '../../support/command-line.js';

const failing = (error: Error) => ({
  startDaemon: () => Promise.reject(error),
});

test.each([
  [[]],
  [['unknown']],
  [['start', '--unknown']],
  [['start', 'surplus']],
  [['call']],
  [['keys']],
  [['keys', 'generate', 'only-a-directory']],
  [['config', 'diff', 'one.toml']],
])('%j is a wrong command line: 2, and standard error says what is right', async (argv) => {
  const { exitCode, out, err } = await runCommand(argv);
  expect(exitCode).toBe(2);
  expect(out).toBe('');
  expect(err).not.toBe('');
});

test('a mistyped command is answered with the one that was probably meant', async () => {
  expect((await runCommand(['strat'])).err).toContain('Did you mean start?');
});

test('help is no failure and goes to standard output', async () => {
  const { exitCode, out, err } = await runCommand(['--help']);
  expect(exitCode).toBe(0);
  expect(err).toBe('');
  for (const name of ['start', 'call', 'ps', 'kernel', 'resources', 'doctor', 'keys', 'config', 'version'])
    expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
});

test('every command has help of its own with a description of each option', async () => {
  const visit = async (names: readonly string[], children: readonly { name(): string }[]): Promise<void> => {
    const { exitCode, out } = await runCommand([...names, '--help']);
    expect([names, exitCode]).toEqual([names, 0]);
    expect(out).toContain(`Usage: splenium ${names.join(' ')}`);
    for (const line of out.split('\n').filter((text) => /^ {2}-/.test(text))) expect(line).toMatch(/ {2}\S/);
    expect(children).toBeDefined();
  };
  const program = buildProgram({
    env: {},
    cwd: '/',
    home: '/',
    out: () => undefined,
    err: () => undefined,
    signal: new AbortController().signal,
    startDaemon: () => Promise.resolve(),
  });
  for (const command of program.commands) {
    await visit([command.name()], command.commands);
    for (const child of command.commands) await visit([command.name(), child.name()], []);
  }
});

test('an error of ours is printed with its code, 1', async () => {
  const { exitCode, err } = await runCommand(['start'], failing(new RuntimeError('the disk is full')));
  expect({ exitCode, err }).toEqual({ exitCode: 1, err: 'RUNTIME: the disk is full' });
});

test('a foreign error is printed with its message, 1', async () => {
  const { exitCode, err } = await runCommand(['start'], failing(new Error('listen EADDRINUSE')));
  expect({ exitCode, err }).toEqual({ exitCode: 1, err: 'listen EADDRINUSE' });
});

test('a configuration that cannot be used: every problem, 78', async () => {
  const problem = { key: 'agent.backend', message: 'no such backend', origin: '/etc/agent.toml' };
  const { exitCode, err } = await runCommand(
    ['start'],
    failing(
      new ConfigError([
        { ...problem, position: { line: 2, column: 11 } },
        { ...problem, key: 'agent.id' },
      ]),
    ),
  );
  expect(exitCode).toBe(78);
  expect(err.split('\n')).toEqual([
    '/etc/agent.toml:2:11: agent.backend: no such backend',
    '/etc/agent.toml: agent.id: no such backend',
  ]);
});
