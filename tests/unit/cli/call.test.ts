import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { METHOD_NAMES } from '../../../src/client/methods.js';
import { runCommand } from '../../support/command-line.js';

test.each([
  [['call', 'pong'], /no function 'pong'; see splenium call --help/],
  [['call', 'ping', 'hello'], /not name=value: 'hello'/],
  [['call', 'ping', '=hello'], /not name=value: '=hello'/],
  [['call', 'ping', 'msg=a', '--timeout', 'soon'], /--timeout: not a number of seconds: 'soon'/],
  [['call', 'ping', 'msg=a', '--timeout', '0'], /--timeout/],
  [
    ['call', 'ping', 'msg=a', '--address', 'tcp://127.0.0.1:1', '--server-key', 'a.key'],
    /--server-key and --client-key belong together/,
  ],
  [
    ['ps', '--address', 'tcp://127.0.0.1:1', '--client-key', 'a.key_secret'],
    /--server-key and --client-key belong together/,
  ],
  [['kernel', 'create', '/nowhere/request.json'], /\/nowhere\/request\.json: ENOENT/],
  [['kernel', 'create', '/proc/self/stat', '--dry-run'], /\/proc\/self\/stat: /],
  [['kernel', 'create', 'a.json', '--show-secrets'], /--show-secrets belongs to --dry-run/],
])('%j is refused before anything is connected: 2', async (argv, complaint) => {
  const { exitCode, out, err } = await runCommand(argv);
  expect(exitCode).toBe(2);
  expect(out).toBe('');
  expect(err).toMatch(complaint);
});

test('help lists every function of the table', async () => {
  const { out } = await runCommand(['call', '--help']);
  for (const name of METHOD_NAMES) expect(out).toContain(name);
});

test.each(['call ping msg=a', 'ps', 'resources', 'doctor'])(
  '%s without a daemon: 1, and what to do',
  async (line) => {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-cli-call-'));
    try {
      const { exitCode, err } = await runCommand([...line.split(' '), '--state-dir', directory]);
      expect(exitCode).toBe(1);
      expect(err).toMatch(/^LOCAL_DAEMON_NOT_FOUND: .*start one, or name the state directory/);
      expect(err).toContain(directory);
    } finally {
      await rm(directory, { recursive: true });
    }
  },
);

test('a key file that is not there: 1, and its name', async () => {
  const { exitCode, err } = await runCommand([
    ...['call', 'ping', 'msg=a', '--address', 'tcp://127.0.0.1:1'],
    ...['--server-key', '/nowhere/agent.key', '--client-key', '/nowhere/me.key_secret'],
  ]);
  expect(exitCode).toBe(1);
  expect(err).toMatch(/^KEY_FILE_INVALID: \/nowhere\//);
});

test('no configuration to find the daemon by: 78', async () => {
  const { exitCode, err } = await runCommand(['ps', '--config', '/nowhere/agent.toml']);
  expect(exitCode).toBe(78);
  expect(err).toContain('/nowhere/agent.toml: no such file');
});
