import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { AgentEtcdView } from '../../../src/stores/agent-etcd-view.js';
import { FileStore } from '../../../src/stores/file-store.js';
import type { KeyEvent } from '../../../src/stores/key-value-store.js';
import { quoteComponent, unquoteComponent } from '../../../src/stores/nested-map.js';

let directory: string;
let store: FileStore;
let group: string;
let view: AgentEtcdView;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-view-'));
  store = await FileStore.open(join(directory, 'store.log'), silentLogger);
  group = 'default';
  view = new AgentEtcdView({ store, namespace: 'local', agentId: 'i-one', scalingGroup: () => group });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

const keys = async () => (await store.list('')).map(([key]) => key);

test('physical keys are those of the original', async () => {
  await view.put('', 'running', 'node');
  await view.put('ip', '127.0.0.1', 'node');
  await view.put('x', '1', 'sgroup');
  await view.put('/config/redis/addr', 'a:1');
  expect(await keys()).toEqual([
    '/sorna/local/config/redis/addr',
    '/sorna/local/nodes/agents/i-one/',
    '/sorna/local/nodes/agents/i-one/ip',
    '/sorna/local/sgroup/default/x',
  ]);
});

test('the narrowest scope wins, an empty text counts', async () => {
  await view.put('k', 'global');
  await view.put('k', '', 'sgroup');
  expect(await view.get('k')).toBe('');
  expect(await view.get('k', 'global')).toBe('global');
  await view.put('k', 'node', 'node');
  expect(await view.get('k')).toBe('node');
  expect(await view.get('k', 'sgroup')).toBe('');
  expect(await view.get('missing')).toBeNull();
});

test('a change of the scaling group applies at once', async () => {
  await view.put('k', 'first', 'sgroup');
  group = 'gpu';
  expect(await view.get('k')).toBeNull();
  await view.put('k', 'second', 'sgroup');
  expect(await view.get('k')).toBe('second');
});

test('trees are merged at the top level only', async () => {
  await view.put('config/redis/addr', 'global');
  await view.put('config/redis/override_configs/stream/addr', 'global');
  await view.put('config/redis/override_configs/image/addr', 'node', 'node');
  expect(await view.getPrefix('config/redis')).toEqual(
    new Map<string, unknown>([
      ['addr', 'global'],
      ['override_configs', new Map([['image', new Map([['addr', 'node']])]])],
    ]),
  );
});

test('a node with a value and children keeps its value under the empty name', async () => {
  await view.put('a', 'own');
  await view.put('a/b%2Fc', 'child');
  expect(await view.getPrefix('a')).toEqual(
    new Map([
      ['', 'own'],
      ['b/c', 'child'],
    ]),
  );
});

test('a written tree reads back, with its names quoted', async () => {
  const tree = new Map<string, string | Map<string, string>>([
    ['host:port', '1'],
    ['inner', new Map([['ä', '2']])],
  ]);
  await view.putTree('t', tree);
  expect(await keys()).toEqual(['/sorna/local/t/host%3Aport', '/sorna/local/t/inner/%C3%A4']);
  expect(await view.getPrefix('t')).toEqual(tree);
});

test('watched keys are relative to namespace and scope', async () => {
  const events: KeyEvent[] = [];
  const watch = await view.watchPrefix('nodes/manager', (event) => {
    events.push(event);
  });
  await view.put('nodes/manager/i-manager', 'up');
  await view.delete('nodes/manager/i-manager');
  await view.put('nodes/other', 'up');
  expect(events).toEqual([
    { type: 'put', key: 'nodes/manager/i-manager', value: 'up' },
    { type: 'delete', key: 'nodes/manager/i-manager' },
  ]);
  await watch.close();
});

test.each([
  ['a/b:c d', 'a%2Fb%3Ac%20d'],
  ['A-z_0.9~', 'A-z_0.9~'],
  ['ü', '%C3%BC'],
])('quotes %s', (text, quoted) => {
  expect(quoteComponent(text)).toBe(quoted);
  expect(unquoteComponent(quoted)).toBe(text);
});

test('a stray percent sign stands for itself', () => {
  expect(unquoteComponent('100%')).toBe('100%');
  expect(unquoteComponent('%zz%41')).toBe('%zzA');
});
