import { readFile } from 'node:fs/promises';
import {
  type ConfigKeyReference,
  type LimitsConfig,
  configKeys,
  diffConfig,
  sampleConfig,
  showConfig,
} from '../../../src/config/index.js';
import { DEFAULT_LIMITS } from '../../../src/callosum/peer-options.js';
import { MINIMAL, load, withDirectory, loadIn } from './config-file.js';

const TWO = `${MINIMAL}[etcd]
password = "hunter2"
user = "u"
[redis]
password = "hunter2"
override-configs = { stat = { password = "hunter2" } }
[plugins.cuda]
api-token = "hunter2"
[splenium.devices.mock]
count = 2
[[agents]]
[agents.agent]
id = "i-one"
[[agents]]
[agents.agent]
id = "i-two"
scaling-group = "gpu"
`;

describe('the effective configuration as text', () => {
  test('every key has its value and origin', async () => {
    await withDirectory(async (directory) => {
      const { config } = await loadIn(directory, TWO, { env: { BACKEND_NAMESPACE: 'ns' } });
      const lines = showConfig(config, { agent: 'i-two', origin: true }).split('\n');
      expect(lines).toContain(`agent.id = "i-two"   # ${directory}/agent.toml:19`);
      expect(lines).toContain(`agent.backend = "process"   # ${directory}/agent.toml:2`);
      expect(lines).toContain('etcd.namespace = "ns"   # environment BACKEND_NAMESPACE');
      expect(lines).toContain('container.port-range = [30000, 31000]   # default');
      expect(lines).toContain('agent.region = (unset)   # default');
      expect(lines).toContain(`splenium.devices = { mock = { count = 2 } }   # ${directory}/agent.toml:12`);
    });
  });
  test.each([{}, { json: true }, { json: true, origin: true }])(
    'secrets are never shown: %p',
    async (options) => {
      const { config } = await load(TWO);
      const text = showConfig(config, options);
      expect(text).not.toContain('hunter2');
      expect(text.match(/\*\*\*/g)).toHaveLength(4);
    },
  );
  test('as JSON it parses', async () => {
    const { config } = await load(TWO);
    expect(JSON.parse(showConfig(config, { json: true }))).toMatchObject({
      'agent.id': 'i-one',
      'agent.region': null,
    });
  });
  test('keys without effect can be left out', async () => {
    const { config } = await load(MINIMAL);
    expect(showConfig(config)).toContain('agent.event-loop');
    expect(showConfig(config, { usedOnly: true })).not.toContain('agent.event-loop');
  });
  test('an unknown agent is refused with those there are', async () => {
    const { config } = await load(TWO);
    expect(() => showConfig(config, { agent: 'i-three' })).toThrow('agents: i-one, i-two');
  });
});

describe('the sample', () => {
  const sample = sampleConfig();

  test('it loads as it is, without a warning', async () => {
    const { config, warnings } = await load(sample);
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      backend: 'process',
      store: 'file',
      rpc: { listen: { host: '127.0.0.1' } },
    });
  });

  test('with every default written out it means the same', async () => {
    const withDefaults = uncommented(
      sample,
      (key) => key !== undefined && key.default !== null && !key.required,
    );
    const [plain, written] = [await load(sample), await load(withDefaults)];
    expect(written.warnings).toEqual([]);
    // Written out, the internal HTTP address is served.
    expect({ ...written.config, views: [], file: '', http: {}, paths: {} }).toEqual({
      ...plain.config,
      views: [],
      file: '',
      http: {},
      paths: {},
      stateDir: written.config.stateDir,
      agents: written.config.agents,
      // Its override files are looked for in the working directory, too, and that differs.
      docker: { ...plain.config.docker, overrideFiles: written.config.docker.overrideFiles },
    });
  });

  test('every key stands in it once, documented', () => {
    for (const { path, doc } of configKeys()) {
      if (!path.includes('.')) continue;
      expect(pathsOf(sample).filter((found) => found === path)).toHaveLength(1);
      expect(doc).not.toBe('');
    }
  });

  test('no line is longer than an editor shows', () => {
    const comments = sample.split('\n').filter((line) => line.startsWith('##'));
    expect(Math.max(...comments.map((line) => line.length))).toBeLessThanOrEqual(120);
  });
});

/** Dotted names of the settings of a sample, commented out or not, up to `[[agents]]`. */
function pathsOf(sample: string): string[] {
  let table = '';
  return (sample.split('[[agents]]')[0] ?? '').split('\n').flatMap((line) => {
    table = /^(?:# )?\[([^[\]]+)\]$/.exec(line)?.[1] ?? table;
    const key = /^(?:# )?("?[\w-]+"?) = /.exec(line)?.[1];
    return key === undefined ? [] : [`${table}.${key}`];
  });
}

function uncommented(sample: string, which: (key: ConfigKeyReference | undefined) => boolean): string {
  const keys = new Map(configKeys().map((key) => [key.path, key]));
  let table = '';
  return sample
    .split('\n')
    .map((line) => {
      const header = /^(# )?\[([^[\]]+)\]$/.exec(line);
      if (header) table = header[1] === undefined ? (header[2] ?? '') : '';
      const setting = /^# (("?[\w-]+"?) = .*)$/.exec(line);
      return setting && table !== '' && which(keys.get(`${table}.${setting[2] ?? ''}`))
        ? (setting[1] ?? '')
        : line;
    })
    .join('\n');
}

test('the bounds of peers are those of the protocol when nothing is written', async () => {
  const { config } = await load(MINIMAL);
  const { maxHandshakeMs, ...others } = DEFAULT_LIMITS;
  const expected: Partial<LimitsConfig> = { ...others, handshakeTimeoutMs: maxHandshakeMs };
  expect(config.limits).toMatchObject(expected);
});

test('the sample of the package loads without a warning', async () => {
  const text = await readFile(new URL('../../../etc/agent.toml', import.meta.url), 'utf8');
  expect(await load(text)).toMatchObject({
    warnings: [],
    config: { agents: [{ id: 'i-one' }, { id: 'i-two' }] },
  });
});

describe('differences', () => {
  const of = async (before: string, after: string) =>
    diffConfig((await load(before)).config, (await load(after)).config);

  test('none between a file and itself', async () => {
    expect(await of(TWO, TWO)).toEqual([]);
  });
  test('keys of the daemon once, keys of agents each, secrets without their value', async () => {
    const changes = await of(
      TWO,
      TWO.replace('password = "hunter2"\nuser', 'password = "hunter3"\nuser').replace('"gpu"', '"cpu"'),
    );
    expect(changes).toMatchObject([
      { agentId: null, key: 'etcd.password', before: '***', after: '***' },
      { agentId: 'i-two', key: 'agent.scaling-group', before: 'gpu', after: 'cpu' },
    ]);
  });
  test('an agent that goes and one that comes', async () => {
    expect(await of(TWO, TWO.replace('"i-two"', '"i-three"'))).toMatchObject([
      { agentId: 'i-two', key: 'agents', after: null },
      { agentId: 'i-three', key: 'agents', before: null },
    ]);
  });
});
