import { randomUUID } from 'node:crypto';
import { AgentEtcdView, type Scope } from '../../src/stores/agent-etcd-view.js';
import type { KeyEvent, KeyValueStore } from '../../src/stores/key-value-store.js';
import { eventually } from '../support/eventually.js';

/** What an agent's view must do over every store (spec/events-and-stores.md 1.2, 1.3, 1.8); each test has a namespace of its own. */
export function describeAgentEtcdView(title: string, open: () => Promise<KeyValueStore>): void {
  describe(title, () => {
    let store: KeyValueStore;
    let namespace: string;
    let group: string;
    let view: AgentEtcdView;

    beforeAll(async () => {
      store = await open();
    });
    afterAll(() => store.close());
    beforeEach(() => {
      namespace = `ns-${randomUUID()}`;
      group = 'default';
      view = viewOf('i-one');
    });

    const viewOf = (agentId: string) =>
      new AgentEtcdView({ store, namespace, agentId, scalingGroup: () => group });
    /** All of the namespace, without what they have in common. */
    const keys = async () => {
      const root = `/sorna/${namespace}/`;
      return (await store.list(root)).map(([key]) => key.slice(root.length));
    };

    test('physical keys are those of the original', async () => {
      await view.put('', 'running', 'node');
      await view.put('ip', '127.0.0.1', 'node');
      await view.put('x', '1', 'sgroup');
      await view.put('/config/redis/addr', 'a:1');
      expect(await keys()).toEqual([
        'config/redis/addr',
        'nodes/agents/i-one/',
        'nodes/agents/i-one/ip',
        'sgroup/default/x',
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
      expect(await view.getOwn('k')).toBe('node');
      expect(await view.get('missing')).toBeNull();
    });

    test('what is its own is not what all have', async () => {
      await view.put('k', 'global');
      expect(await view.getOwn('k')).toBeNull();
      expect(await viewOf('i-two').get('k')).toBe('global');
      await view.put('k', 'node', 'node');
      expect(await viewOf('i-two').get('k')).toBe('global');
    });

    test('a change of the scaling group applies at once', async () => {
      await view.put('k', 'first', 'sgroup');
      group = 'gpu';
      expect(await view.get('k')).toBeNull();
      await view.put('k', 'second', 'sgroup');
      expect(await view.get('k')).toBe('second');
      expect((await view.getPrefix('', 'sgroup')).get('k')).toBe('second');
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

    test('of three scopes with the same names the node’s wins, then the group’s, each name by itself', async () => {
      const values: readonly (readonly [Scope, readonly string[]])[] = [
        ['global', ['a', 'b', 'c']],
        ['sgroup', ['b', 'c']],
        ['node', ['c']],
      ];
      for (const [scope, names] of values)
        for (const name of names) await view.put(`t/${name}`, scope, scope);
      const merged = async (scope?: Scope) => Object.fromEntries(await view.getPrefix('t', scope));
      expect(await merged()).toEqual({ a: 'global', b: 'sgroup', c: 'node' });
      expect(await merged('sgroup')).toEqual({ a: 'global', b: 'sgroup', c: 'sgroup' });
      expect(await merged('global')).toEqual({ a: 'global', b: 'global', c: 'global' });
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

    test('a prefix is read without its slash, so that a neighbour with the same beginning is an odd entry', async () => {
      await view.put('config/redis/addr', 'a:1');
      await view.put('config/redis-x/addr', 'b:2');
      for (const prefix of ['config/redis', 'config/redis/'])
        expect(await view.getPrefix(prefix)).toEqual(
          new Map<string, unknown>([
            ['-x', new Map([['addr', 'b:2']])],
            ['addr', 'a:1'],
          ]),
        );
    });

    test('a written tree reads back, with its names quoted', async () => {
      const tree = new Map<string, string | Map<string, string>>([
        ['host:port', '1'],
        ['inner', new Map([['ä', '2']])],
        ['some/where', '3'],
      ]);
      await view.putTree('t', tree);
      expect(await keys()).toEqual(['t/host%3Aport', 't/inner/%C3%A4', 't/some%2Fwhere']);
      expect(await view.getPrefix('t')).toEqual(tree);
    });

    test('keys and subtrees are deleted in their scope alone', async () => {
      for (const scope of ['global', 'node'] as const)
        for (const key of ['d', 'd/1', 'd/2', 'e']) await view.put(key, scope, scope);
      await view.delete('d', 'node');
      await view.deletePrefix('d/');
      expect(await keys()).toEqual([
        ...['d', 'e', 'nodes/agents/i-one/d/1', 'nodes/agents/i-one/d/2', 'nodes/agents/i-one/e'],
      ]);
    });

    test('watched keys are relative to namespace and scope', async () => {
      const events: Readonly<Record<'global' | 'node', KeyEvent[]>> = { global: [], node: [] };
      const watches = await Promise.all(
        (['global', 'node'] as const).map((scope) =>
          view.watchPrefix('nodes/manager', (event) => events[scope].push(event), scope),
        ),
      );
      await view.put('nodes/manager/i-manager', 'up');
      await view.delete('nodes/manager/i-manager');
      await view.put('nodes/other', 'up');
      await view.put('nodes/manager/i-manager', 'own', 'node');
      await eventually(() => {
        expect(events).toEqual({
          global: [
            { type: 'put', key: 'nodes/manager/i-manager', value: 'up' },
            { type: 'delete', key: 'nodes/manager/i-manager' },
          ],
          node: [{ type: 'put', key: 'nodes/manager/i-manager', value: 'own' }],
        });
      });
      for (const watch of watches) await watch.close();
    });
  });
}
