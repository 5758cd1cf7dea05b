import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { FileStore } from '../../../src/stores/file-store.js';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-file-store-'));
  path = join(directory, 'state', 'store.log');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const put = (key: string, value: string) => ({ type: 'put', key, value }) as const;

async function withStore<T>(use: (store: FileStore) => Promise<T>): Promise<T> {
  const store = await FileStore.open(path, silentLogger);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

test('what was written is there after a restart, and private', async () => {
  await withStore((store) => store.write([put('a', '1'), put('b', '2')]));
  await withStore((store) => store.write([{ type: 'delete', key: 'a' }]));
  expect(await withStore((store) => store.list(''))).toEqual([['b', '2']]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('a write cut off at any byte is lost as a whole, those before it stay', async () => {
  await withStore((store) => store.write([put('a', '1')]));
  const complete = await readFile(path);
  await withStore((store) => store.write([put('b', '2'), put('c', '3')]));
  const full = await readFile(path);
  for (let length = complete.length; length < full.length; length += 1) {
    await writeFile(path, full.subarray(0, length));
    await withStore(async (store) => {
      expect(await store.list('')).toEqual([['a', '1']]);
      await store.write([put('d', '4')]);
    });
    expect(await withStore((store) => store.list(''))).toEqual([
      ['a', '1'],
      ['d', '4'],
    ]);
  }
});

test.each(['garbage', '{}', '[{"type":"put","key":1}]'])(
  'a line that nobody wrote is refused: %s',
  async (line) => {
    await withStore((store) => store.write([put('a', '1')]));
    await appendFile(path, `${line}\n`);
    await expect(FileStore.open(path, silentLogger)).rejects.toMatchObject({
      code: 'STORE_CORRUPT',
      message: expect.stringContaining(':2: ') as string,
    });
  },
);

test('a place that cannot be written is named', async () => {
  await writeFile(join(directory, 'state'), 'a file where a directory should be');
  await expect(FileStore.open(path, silentLogger)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
});

test('the log is compacted and loses nothing', async () => {
  await withStore(async (store) => {
    for (let index = 0; index < 1100; index += 1)
      await store.write([put(`k${String(index % 3)}`, String(index))]);
    expect((await readFile(path, 'utf8')).split('\n').length).toBeLessThan(1000);
    await store.write([put('last', '1')]);
  });
  expect(await withStore((store) => store.list(''))).toEqual([
    ['k0', '1098'],
    ['k1', '1099'],
    ['k2', '1097'],
    ['last', '1'],
  ]);
});
