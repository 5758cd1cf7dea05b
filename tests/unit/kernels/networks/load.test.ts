import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNetworkPlugins } from '../../../../src/kernels/networks/load.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const FABRIC = `exports.default = {
  apiVersion: 1,
  kind: 'network',
  create: async ({ settings }) => settings.off ? undefined : {
    name: settings.name ?? 'fabric',
    join: async () => ({ mode: 'options', containerOptions: {}, publishesPorts: false }),
  },
};`;

let directory: string;
let log: RecordedLog;
beforeEach(async () => {
  log = new RecordedLog();
  directory = await mkdtemp(join(tmpdir(), 'splenium-networks-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function install(name: string, source: string): Promise<void> {
  const at = join(directory, 'node_modules', name);
  await mkdir(at, { recursive: true });
  await writeFile(join(at, 'index.js'), source);
}

const load = async (more: Partial<Parameters<typeof loadNetworkPlugins>[0]> = {}) => {
  const plugins = await loadNetworkPlugins({
    allow: null,
    block: [],
    resolveFrom: directory,
    settingsOf: () => ({}),
    logger: log,
    ...more,
  });
  return plugins.map(({ name }) => name);
};

test.each([
  [null, [], ['overlay', 'host']],
  [[], [], []],
  [['overlay'], [], ['overlay']],
  [null, ['host'], ['overlay']],
  [['ai.backend.agent'], [], ['overlay', 'host']],
  [null, ['ai.backend.agent.docker.intrinsic'], []],
])('allowing %j and blocking %j leaves %j of what is built in', async (allow, block, expected) => {
  expect(await load({ allow, block })).toEqual(expected);
});

test('a name that is both allowed and blocked is refused', async () => {
  await expect(load({ allow: ['host'], block: ['host'] })).rejects.toThrow(
    "network plugins: allowlist and blocklist has union value '{'host'}'",
  );
});

test('a package is loaded with its settings, named by the configuration or by the allow list', async () => {
  await install('splenium-network-plugin-fabric', FABRIC);
  const packages = ['splenium-network-plugin-fabric'];
  const settingsOf = (key: string) => ({ name: `${key}-net` });
  expect(await load({ packages, settingsOf })).toEqual(['overlay', 'host', 'fabric-net']);
  expect(await load({ allow: packages })).toEqual(['fabric']);
  expect(await load({ packages, block: packages })).toEqual(['overlay', 'host']);
  expect(await load({ packages, settingsOf: () => ({ off: '1' }) })).toEqual(['overlay', 'host']);
  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test.each([
  [
    'no-factory',
    'exports.default = { apiVersion: 1, create: async () => undefined };',
    /is not a network plugin factory/,
  ],
  ['throws', 'throw new Error("no driver");', /no driver/],
  ['nameless', FABRIC.replace("settings.name ?? 'fabric'", "''"), /no name of its own/],
  ['bridge', FABRIC.replace("settings.name ?? 'fabric'", "'bridge'"), /no name of its own/],
  ['../elsewhere', FABRIC, /not a package name/],
])('a package that is no plugin (%s) is left out and the reason logged', async (name, source, reason) => {
  if (!name.startsWith('.')) await install(name, source);
  expect(await load({ packages: [name] })).toEqual(['overlay', 'host']);
  expect(log.lines).toMatchObject([
    {
      level: 'error',
      message: 'network plugin left out',
      fields: { plugin: name, error: expect.stringMatching(reason) },
    },
  ]);
});
