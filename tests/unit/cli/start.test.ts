import { runCommand } from '../../support/command-line.js';

test.each([
  [['start'], { configPath: undefined, logLevel: undefined }],
  [['start', '-c', 'agent.toml'], { configPath: 'agent.toml', logLevel: undefined }],
  [['start', '--config', 'a', '--log-level', 'warning'], { configPath: 'a', logLevel: 'WARNING' }],
  [['start', '--log-level=TRACE'], { configPath: undefined, logLevel: 'TRACE' }],
  [['start', '--debug'], { configPath: undefined, logLevel: 'DEBUG' }],
])('%j starts the daemon with %j', async (argv, expected) => {
  const { exitCode, started } = await runCommand(argv);
  expect(exitCode).toBe(0);
  expect(started).toEqual([expected]);
});

test('a level that there is not: 2, and the levels there are', async () => {
  const { exitCode, err, started } = await runCommand(['start', '--log-level', 'verbose']);
  expect(exitCode).toBe(2);
  expect(err).toMatch(/'verbose'.*NOTSET, TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL/);
  expect(started).toEqual([]);
});

test('two answers to the same question: 2', async () => {
  const { exitCode, err, started } = await runCommand(['start', '--debug', '--log-level', 'INFO']);
  expect(exitCode).toBe(2);
  expect(err).toContain("'--debug' cannot be used with option '--log-level <level>'");
  expect(started).toEqual([]);
});
