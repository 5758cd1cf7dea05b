import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DaemonConfig, loadConfig } from '../../../src/config/index.js';
import { MINIMAL, ROOT_HOST, load, problemsOf, withDirectory } from './config-file.js';

describe('variables', () => {
  test.each<[string, string, (config: DaemonConfig) => unknown, unknown]>([
    ['BACKEND_NAMESPACE', 'ns', ({ etcd }) => etcd.namespace, 'ns'],
    ['BACKEND_ETCD_ADDR', 'e:2379', ({ etcd }) => etcd.addrs, [{ host: 'e', port: 2379 }]],
    ['BACKEND_PID_FILE', '/run/a.pid', ({ pidFile }) => pidFile, '/run/a.pid'],
    [
      'BACKEND_CONTAINER_PORT_RANGE',
      '20000-20100',
      ({ agents }) => agents[0]?.portRange,
      { first: 20_000, last: 20_100 },
    ],
    ['BACKEND_BIND_HOST_OVERRIDE', '10.1.1.1', ({ agents }) => agents[0]?.bindHost, '10.1.1.1'],
    ['BACKEND_SANDBOX_TYPE', 'docker', ({ agents }) => agents[0]?.sandboxType, 'docker'],
    ['BACKEND_SCRATCH_ROOT', '/s', ({ agents }) => agents[0]?.scratchRoot, '/s'],
    ['BACKEND_AGENT_HOST_OVERRIDE', '127.0.0.2', ({ rpc }) => rpc.listen, { host: '127.0.0.2', port: 6001 }],
    ['BACKEND_AGENT_PORT', '7001', ({ rpc }) => rpc.listen, { host: '127.0.0.1', port: 7001 }],
  ])('%s', async (name, value, read, expected) => {
    const { config } = await load(MINIMAL, { env: { [name]: value } });
    expect(read(config)).toEqual(expected);
    expect(config.views[0]?.entries.filter(({ origin }) => origin === `environment ${name}`)).toHaveLength(1);
  });

  test('credentials count only when both are there', async () => {
    const both = { BACKEND_ETCD_USER: 'u', BACKEND_ETCD_PASSWORD: 'p' };
    expect((await load(MINIMAL, { env: both })).config.etcd.credentials).toEqual({
      user: 'u',
      password: 'p',
    });
    expect(
      (await load(MINIMAL, { env: { ...both, BACKEND_ETCD_PASSWORD: '' } })).config.etcd.credentials,
    ).toBeNull();
  });

  test.each(['"127.0.0.1:6001"', '["127.0.0.1", 6001]', '{ host = "127.0.0.1", port = 6001 }'])(
    'half of the address %s is replaced',
    async (written) => {
      const text = `[agent]\nbackend = "dummy"\nrpc-listen-addr = ${written}\n`;
      const { config } = await load(text, { env: { BACKEND_AGENT_PORT: '1' } });
      expect(config.rpc.listen).toEqual({ host: '127.0.0.1', port: 1 });
    },
  );

  test.each([
    [
      'BACKEND_SANDBOX_TYPE',
      'vm',
      'container.sandbox-type: expected one of "docker", "jail", but given "vm"',
    ],
    ['BACKEND_CONTAINER_PORT_RANGE', '1', 'container.port-range: port_range must be a tuple of two integers'],
    ['BACKEND_ETCD_ADDR', '', 'etcd.addr: value as string must contain both'],
    ['BACKEND_SCRATCH_ROOT', '', 'container.scratch-root: expected a string, not empty'],
  ])('%s=%s is refused', async (name, value, message) => {
    expect(await problemsOf(MINIMAL, { env: { [name]: value } })).toEqual([expect.stringContaining(message)]);
  });
});

describe('the log level of the command line', () => {
  test.each<[string, string | undefined, string, boolean, string | undefined]>([
    ['', 'DEBUG', 'DEBUG', true, 'INFO'],
    [
      '[debug]\n[logging]\nlevel = "ERROR"\n[logging.pkg-ns]\ntests = "INFO"',
      'debug',
      'DEBUG',
      true,
      'DEBUG',
    ],
    ['[debug]\nenabled = true', 'WARNING', 'WARNING', false, 'INFO'],
    ['[debug]\nenabled = true', 'NOTSET', 'INFO', true, 'INFO'],
    ['[debug]\nenabled = true', undefined, 'INFO', true, 'INFO'],
  ])('%p and %p', async (lines, logLevel, level, debug, packageLevel) => {
    const { config } = await load(`${MINIMAL}${lines}\n`, logLevel === undefined ? {} : { logLevel });
    expect([config.logLevel, config.debugEnabled, config.logging.packageLevels['ai.backend']]).toEqual([
      level,
      debug,
      packageLevel,
    ]);
  });
});

describe('where the file is searched', () => {
  const find = (home: string, cwd: string) =>
    loadConfig({ env: {}, cwd, home, host: ROOT_HOST }).then(({ config }) => config.file);

  test('working directory, then build roots above it, then the user’s', async () => {
    await withDirectory(async (home) => {
      const cwd = join(home, 'src', 'deep', 'er');
      const user = join(home, '.config', 'backend.ai');
      await mkdir(cwd, { recursive: true });
      await mkdir(user, { recursive: true });
      await writeFile(join(user, 'agent.toml'), MINIMAL);
      // No BUILD_ROOT beside it, so it does not count.
      await writeFile(join(home, 'src', 'deep', 'agent.toml'), MINIMAL);
      expect(await find(home, cwd)).toBe(join(user, 'agent.toml'));
      await writeFile(join(home, 'src', 'agent.toml'), MINIMAL);
      await writeFile(join(home, 'src', 'BUILD_ROOT'), '');
      expect(await find(home, cwd)).toBe(join(home, 'src', 'agent.toml'));
      await writeFile(join(cwd, 'agent.toml'), MINIMAL);
      expect(await find(home, cwd)).toBe(join(cwd, 'agent.toml'));
    });
  });
  test('an empty BACKEND_CONFIG_FILE counts as none; paths count from the working directory', async () => {
    await withDirectory(async (home) => {
      await writeFile(
        join(home, 'agent.toml'),
        `${MINIMAL}[container]\nscratch-root = "~/s"\n[splenium]\nstate-dir = "st"\n`,
      );
      const { config } = await loadConfig({
        env: { BACKEND_CONFIG_FILE: '' },
        cwd: home,
        home: '/home/x',
        host: ROOT_HOST,
      });
      expect([config.agents[0]?.scratchRoot, config.stateDir]).toEqual(['/home/x/s', join(home, 'st')]);
    });
  });
  test('the state directory follows XDG_STATE_HOME', async () => {
    const { config } = await load(MINIMAL, { env: { XDG_STATE_HOME: '/var/state' } });
    expect(config.stateDir).toBe('/var/state/splenium');
  });
});
