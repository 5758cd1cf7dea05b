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

    test('several changes are one: all of them or none', async () => {
      await store.write([{ type: 'put', key: `${prefix}t/old`, value: '1' }]);
      await store.write([
        { type: 'delete-prefix', prefix: `${prefix}t/` },
        { type: 'put', key: `${prefix}u`, value: '2' },
        { type: 'delete', key: `${prefix}v` },
      ]);
      expect(await store.list(prefix)).toEqual([[`${prefix}u`, '2']]);
      await store.write([]);
      expect(await store.list(prefix)).toHaveLength(1);
    });

    test('a prefix that ends in a slash has nothing of a neighbour, and one of bytes that sort last is found', async () => {
      const names = ['a', 'a/1', 'ab', 'a/\u{10ffff}', 'b'];
      await store.write(names.map((name) => ({ type: 'put', key: prefix + name, value: name })));
      const listed = async (end: string) => (await store.list(prefix + end)).map(([, value]) => value);
      expect(await listed('a/')).toEqual(['a/1', 'a/\u{10ffff}']);
      expect(await listed('a/\u{10ffff}')).toEqual(['a/\u{10ffff}']);
      await store.write([{ type: 'delete-prefix', prefix: `${prefix}a/\u{10ffff}` }]);
      expect(await listed('')).toEqual(['a', 'a/1', 'ab', 'b']);
    });

    test('values of half a mebibyte and names with every kind of sign come back as they were', async () => {
      const key = `${prefix}%2F: "\\'\t가 😀`;
      const value = 'ß'.repeat(256 * 1024);
      await store.write([{ type: 'put', key, value }]);
      expect(await store.get(key)).toBe(value);
      expect(await store.list(prefix)).toEqual([[key, value]]);
    });

    test('watches of one prefix and of those above and below it each hear what is theirs', async () => {
      const seen = new Map<string, string[]>();
      const watches = await Promise.all(
        ['', 'a/', 'a/b/', 'a/b'].map((end) =>
          store.watch(prefix + end, ({ key }) => {
            seen.set(end, [...(seen.get(end) ?? []), key.slice(prefix.length)]);
          }),
        ),
      );
      for (const name of ['x', 'a/1', 'a/b/2', 'a/bc'])
        await store.write([{ type: 'put', key: prefix + name, value: '' }]);
      await eventually(() => {
        expect(Object.fromEntries(seen)).toEqual({
          '': ['x', 'a/1', 'a/b/2', 'a/bc'],
          'a/': ['a/1', 'a/b/2', 'a/bc'],
          'a/b/': ['a/b/2'],
          'a/b': ['a/b/2', 'a/bc'],
        });
      });
      await Promise.all(watches.map((watch) => watch.close()));
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
