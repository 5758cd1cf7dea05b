import { followTransfer } from '../../../../src/backends/docker/image-transfers.js';
import type { Transferred } from '../../../../src/backends/docker/transfer-meter.js';

async function follow(records: readonly unknown[]) {
  const heard: Transferred[] = [];
  // eslint-disable-next-line @typescript-eslint/require-await
  const stream = (async function* () {
    yield* records;
  })();
  const failure = await followTransfer(stream, (progress) => heard.push(progress));
  return { failure, heard, counts: heard.map(({ current, total }) => [current, total]) };
}
const moving = (id: string, current: number, total: number, status = 'Downloading') => ({
  id,
  status,
  progressDetail: { current, total },
});
const state = (id: string, status: string) => ({ id, status, progressDetail: {} });

test('bytes of all layers are added up, and what has arrived counts in full', async () => {
  const { failure, counts, heard } = await follow([
    { status: 'Pulling from stable/kernel', id: '1' },
    state('a', 'Pulling fs layer'),
    state('b', 'Pulling fs layer'),
    moving('a', 10, 100),
    moving('b', 50, 200),
    moving('a', 70, 100),
    state('a', 'Download complete'),
    moving('a', 3, 100, 'Extracting'),
    state('a', 'Pull complete'),
    moving('b', 200, 200),
    state('b', 'Pull complete'),
    { status: 'Digest: sha256:00' },
  ]);
  expect(failure).toBeNull();
  expect(counts).toEqual([
    [0, 1],
    [0, 2],
    [10, 100],
    [60, 300],
    [120, 300],
    [150, 300],
    // The same bytes, one layer more.
    [150, 300],
    [300, 300],
    [300, 300],
  ]);
  expect(heard.at(-1)?.message).toBe('2 of 2 layers done');
});

test('a layer that the engine tries again does not go back', async () => {
  const { counts } = await follow([
    moving('a', 80, 100),
    state('a', 'Retrying in 1 second'),
    moving('a', 5, 100),
  ]);
  expect(counts).toEqual([[80, 100]]);
});

test('where the engine tells no bytes, layers are counted', async () => {
  const { counts } = await follow([
    state('a', 'Preparing'),
    state('b', 'Preparing'),
    state('a', 'Layer already exists'),
    state('b', 'Mounted from stable/other'),
  ]);
  expect(counts).toEqual([
    [0, 1],
    [0, 2],
    [1, 2],
    [2, 2],
  ]);
});

test('a push that has more to send than it thought grows its total', async () => {
  const { counts } = await follow([moving('a', 50, 100, 'Pushing'), moving('a', 120, 100, 'Pushing')]);
  expect(counts).toEqual([
    [50, 100],
    [120, 120],
  ]);
});

test('an error in the records is what went wrong, whatever comes after it', async () => {
  expect(
    await follow([state('a', 'Pushed'), { errorDetail: { message: 'denied' }, error: 'denied' }]),
  ).toMatchObject({ failure: 'denied' });
  expect(await follow([{ errorDetail: { message: 'over quota' } }, { status: 'bye' }])).toMatchObject({
    failure: 'over quota',
  });
});

test('a stream without any record is a failure', async () => {
  expect(await follow([])).toEqual({ failure: 'the engine ended without a word', heard: [], counts: [] });
});

test('records of no known shape change nothing', async () => {
  const odd = [null, 7, 'text', [], { id: 7, status: {}, progressDetail: 'x' }, { error: 7 }];
  expect(await follow(odd)).toEqual({ failure: null, heard: [], counts: [] });
});
