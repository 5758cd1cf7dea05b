import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfigError, loadConfig, showConfig } from '../../../src/config/index.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-config-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function load(text: string, env: Record<string, string> = {}) {
  const path = join(directory, 'agent.toml');
  await writeFile(path, text);
  return loadConfig({ path, env, cwd: directory, home: directory });
}

async function problemsOf(text: string, env: Record<string, string> = {}): Promise<string[]> {
  try {
    await load(text, env);
  } catch (error) {
    return (error as ConfigError).problems.map(
      ({ key, message, position, origin }) =>
        `${position ? `${String(position.line)}:${String(position.column)}` : origin.replace(directory, '')} ${key}: ${message}`,
    );
  }
  return [];
}

const MINIMAL = `[agent]
backend = "process"
rpc-listen-addr = "127.0.0.1:6001"
`;

const TWO = `${MINIMAL}kernel-creation-concurrency = 7
[[agents]]
[agents.agent]
id = "i-one"
[[agents]]
[agents.agent]
id = "i-two"
scaling-group = "gpu"
[agents.container]
port-range = [40000, 40100]
`;

describe('loading', () => {
  test('a minimal file gives one agent on the embedded defaults', async () => {
    const { config, warnings } = await load(MINIMAL);
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      backend: 'process',
      store: 'file',
      eventBus: 'local',
      rpc: { listen: { host: '127.0.0.1', port: 6001 } },
    });
    expect(config.agents).toHaveLength(1);
    expect(config.agents[0]).toMatchObject({
      id: null,
      scalingGroup: 'default',
      portRange: { first: 30_000, last: 31_000 },
    });
  });

  test('an entry of [[agents]] overrides only what it names', async () => {
    const { config } = await load(TWO);
    expect(
      config.agents.map(({ id, scalingGroup, portRange, kernelCreationConcurrency }) => ({
        id,
        scalingGroup,
        portRange,
        kernelCreationConcurrency,
      })),
    ).toEqual([
      {
        id: 'i-one',
        scalingGroup: 'default',
        portRange: { first: 30_000, last: 31_000 },
        kernelCreationConcurrency: 7,
      },
      {
        id: 'i-two',
        scalingGroup: 'gpu',
        portRange: { first: 40_000, last: 40_100 },
        kernelCreationConcurrency: 7,
      },
    ]);
  });

  test('etcd and redis are chosen exactly when the file names an etcd address', async () => {
    const { config } = await load(
      `${MINIMAL}[etcd]\nnamespace = "local"\naddr = { host = "127.0.0.1", port = 2379 }\n`,
    );
    expect([config.store, config.eventBus]).toEqual(['etcd', 'redis']);
  });

  test('aliases and snake case are read', async () => {
    const { config, warnings } = await load(
      '[agent]\nmode = "process"\nrpc_listen_addr = ["127.0.0.1", 6005]\n[container]\nkernel-host = "10.0.0.1"\n',
    );
    expect(warnings).toEqual([]);
    expect(config.rpc.listen.port).toBe(6005);
    expect(config.agents[0]?.bindHost).toBe('10.0.0.1');
  });

  test('the environment wins over the file, also for one half of the address', async () => {
    const { config } = await load(MINIMAL, {
      BACKEND_AGENT_PORT: '7001',
      BACKEND_BIND_HOST_OVERRIDE: '10.1.1.1',
    });
    expect(config.rpc.listen).toEqual({ host: '127.0.0.1', port: 7001 });
    expect(config.agents[0]?.bindHost).toBe('10.1.1.1');
    expect(showConfig(config, { origin: true })).toContain(
      'container.bind-host = "10.1.1.1"   # environment BACKEND_BIND_HOST_OVERRIDE',
    );
  });

  test('BACKEND_CONFIG_FILE is the only candidate when set', async () => {
    await writeFile(join(directory, 'other.toml'), MINIMAL);
    const { config } = await loadConfig({
      env: { BACKEND_CONFIG_FILE: join(directory, 'other.toml') },
      cwd: directory,
      home: directory,
    });
    expect(config.file).toBe(join(directory, 'other.toml'));
    const missing = loadConfig({
      env: { BACKEND_CONFIG_FILE: '/nowhere.toml' },
      cwd: directory,
      home: directory,
    });
    await expect(missing).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('one range inherited by all agents is split between them, with a warning', async () => {
    const { config, warnings } = await load(TWO.replace('[40000, 40100]', '[30000, 31000]'));
    expect(config.agents.map(({ portRange }) => portRange)).toEqual([
      { first: 30_000, last: 30_500 },
      { first: 30_501, last: 31_000 },
    ]);
    expect(warnings.map(({ key }) => key)).toEqual(['container.port-range']);
  });

  test('an unknown key warns with the nearest known one', async () => {
    const { warnings } = await load(`${MINIMAL}scalling-group = "x"\n[nonsense]\na = 1\n`);
    expect(warnings).toEqual([
      expect.objectContaining({
        key: 'agent.scalling-group',
        message: 'unknown key',
        hint: 'did you mean "scaling-group"?',
        position: { line: 4, column: 18 },
      }),
      expect.objectContaining({ key: 'nonsense', message: 'unknown section' }),
    ]);
  });

  test('the sample file of the package loads without a warning', async () => {
    const sample = await readFile(new URL('../../../etc/agent.toml', import.meta.url), 'utf8');
    const { config, warnings } = await load(sample);
    expect(warnings).toEqual([]);
    expect(config.agents.map(({ id }) => id)).toEqual(['i-one', 'i-two']);
  });
});

describe('refusals', () => {
  test('every problem is reported at once, with line, column and what was expected', async () => {
    const text = `[agent]
backend = "podman"
rpc-listen-addr = "localhost"
kernel-creation-concurrency = 99
[container]
port-range = [31000, 30000]
`;
    expect(await problemsOf(text)).toEqual([
      '2:11 agent.backend: expected one of "process", "docker", "kubernetes", "dummy", but given "podman"',
      '3:19 agent.rpc-listen-addr: value as string must contain both address and number, but given "localhost"',
      '4:31 agent.kernel-creation-concurrency: expected an integer from 1 to 32, but given 99',
      '6:14 container.port-range: invalid port_range: start=31000 > end=30000, but given [31000,30000]',
    ]);
  });
  test.each([
    ['a syntax error', '[agent\n', /^\d:\d+ : not TOML/],
    ['no backend', '[agent]\nrpc-listen-addr = "127.0.0.1:1"\n', /agent.backend: required, but absent/],
    [
      'a link-local address',
      '[agent]\nbackend = "process"\nrpc-listen-addr = "169.254.1.1:6001"\n',
      /link-local/,
    ],
    ['plain text on all addresses', '[agent]\nbackend = "process"\n', /without authentication/],
    [
      'a key pair without a manager key',
      `${MINIMAL}rpc-auth-agent-keypair = "agent.toml"\n`,
      /rpc-auth-manager-public-key: required/,
    ],
    ['one entry of [[agents]]', `${MINIMAL}[[agents]]\n[agents.agent]\nid = "a"\n`, /only 1 agent/],
    ['equal ids', TWO.replace('i-two', 'i-one'), /Duplicate agent IDs found! "i-one"/],
    ['an entry without an id', TWO.replace('id = "i-two"\n', ''), /needs an id of its own/],
    [
      'overlapping port ranges',
      TWO.replace('40000, 40100', '30900, 40100'),
      /30900-40100 of i-two overlaps 30000-31000 of i-one/,
    ],
    ['an id that is no file name', TWO.replace('i-two', '../i-two'), /invalid agent id/],
  ])('%s', async (_name, text, expected) => {
    const problems = await problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });
  test('a bad value of the environment is reported with its variable', async () => {
    expect(await problemsOf(MINIMAL, { BACKEND_AGENT_PORT: 'x' })).toEqual([
      'environment BACKEND_AGENT_PORT agent.rpc-listen-addr: port number must be an integer, but given {"host":"127.0.0.1","port":"x"}',
    ]);
  });
  test('secrets are never shown', async () => {
    const { config } = await load(`${MINIMAL}[etcd]\nnamespace = "local"\npassword = "hunter2"\n`);
    expect(showConfig(config, { origin: true })).not.toContain('hunter2');
    expect(showConfig(config, { json: true })).not.toContain('hunter2');
  });
});
