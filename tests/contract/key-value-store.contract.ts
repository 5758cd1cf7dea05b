import { randomUUID } from 'node:crypto';
import type { KeyEvent, KeyValueStore } from '../../src/stores/key-value-store.js';
import { eventually } from '../support/eventually.js';

/** What every key-value store must do; each test has a prefix of its own. */
export function describeKeyValueStore(title: string, open: () => Promise<KeyValueStore>): void {
  describe(title, () => {
    let store: KeyValueStore;
    let prefix: string;

    beforeAll(async () => {
      store = await open();
    });
    afterAll(() => store.close());
    beforeEach(() => {
      prefix = `/test/${randomUUID()}/`;
    });

    test('reads what was put; an empty text is a value, a missing key is none', async () => {
      await store.write([
        { type: 'put', key: `${prefix}a`, value: 'ü\n' },
        { type: 'put', key: `${prefix}empty`, value: '' },
        { type: 'put', key: prefix, value: 'trailing slash' },
      ]);
      expect(await store.get(`${prefix}a`)).toBe('ü\n');
      expect(await store.get(`${prefix}empty`)).toBe('');
      expect(await store.get(prefix)).toBe('trailing slash');
      expect(await store.get(`${prefix}missing`)).toBeNull();
    });

    test('lists a prefix in the order of the keys’ bytes, siblings with the same beginning too', async () => {
      await store.write(
        ['b', 'a/2', 'a-x', 'a', 'é'].map((name) => ({ type: 'put', key: prefix + name, value: name })),
      );
      const listed = await store.list(`${prefix}a`);
      expect(listed.map(([key]) => key.slice(prefix.length))).toEqual(['a', 'a-x', 'a/2']);
      expect((await store.list(prefix)).at(-1)?.[1]).toBe('é');
      expect(await store.list(`${prefix}none`)).toEqual([]);
    });

    test('deletes keys and prefixes; what is not there is no error', async () => {
      await store.write(
        ['x/1', 'x/2', 'y'].map((name) => ({ type: 'put', key: prefix + name, value: name })),
      );
      await store.write([
        { type: 'delete-prefix', prefix: `${prefix}x/` },
        { type: 'delete', key: `${prefix}gone` },
      ]);
      expect((await store.list(prefix)).map(([, value]) => value)).toEqual(['y']);
    });

    test('a watch reports later changes below its prefix, in order, and ends', async () => {
      await store.write([{ type: 'put', key: `${prefix}w/old`, value: '0' }]);
      const events: KeyEvent[] = [];
      const watch = await store.watch(`${prefix}w/`, (event) => {
        events.push(event);
      });
      await store.write([{ type: 'put', key: `${prefix}w/a`, value: '1' }]);
      await store.write([{ type: 'put', key: `${prefix}other`, value: '1' }]);
      await store.write([{ type: 'delete', key: `${prefix}w/old` }]);
      await store.write([{ type: 'put', key: `${prefix}w/a`, value: '2' }]);
      await eventually(() => {
        expect(events).toHaveLength(3);
      });
      expect(events.map((event) => [event.type, event.key.slice(prefix.length)])).toEqual([
        ['put', 'w/a'],
        ['delete', 'w/old'],
        ['put', 'w/a'],
      ]);
      await watch.close();
      await watch.close();
      await store.write([{ type: 'put', key: `${prefix}w/a`, value: '3' }]);
      expect(await store.get(`${prefix}w/a`)).toBe('3');
      expect(events).toHaveLength(3);
    });

    test('a listener that throws misses nothing and harms no other', async () => {
      const seen: string[] = [];
      const failing = await store.watch(prefix, () => {
        throw new Error('listener');
      });
      const watch = await store.watch(prefix, ({ key }) => {
        seen.push(key.slice(prefix.length));
      });
      await store.write([{ type: 'put', key: `${prefix}1`, value: '' }]);
      await store.write([{ type: 'put', key: `${prefix}2`, value: '' }]);
      await eventually(() => {
        expect(seen).toEqual(['1', '2']);
      });
      await Promise.all([failing.close(), watch.close()]);
    });

    test('writes that run at once all arrive', async () => {
      const names = Array.from({ length: 50 }, (_, index) => String(index));
      await Promise.all(names.map((name) => store.write([{ type: 'put', key: prefix + name, value: name }])));
      expect(await store.list(prefix)).toHaveLength(50);
    });
  });
}
