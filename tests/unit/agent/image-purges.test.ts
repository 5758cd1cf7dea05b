import { purgeImages } from '../../../src/agent/image-purges.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FaultyBackend } from '../../support/faulty-backend.js';

const OPTIONS = { force: false, noprune: true };

test('each image has its outcome, in the order of the call', async () => {
  const backend = new FaultyBackend();
  backend.localImages.add('a:1').add('c:1');
  const outcomes = await purgeImages(
    { images: backend.images, logger: silentLogger },
    ['a:1', 'b:1', 'c:1'],
    OPTIONS,
  );
  expect(outcomes).toEqual([
    { image: 'a:1', error: null },
    { image: 'b:1', error: 'no such image: b:1' },
    { image: 'c:1', error: null },
  ]);
});

test('one that takes its time keeps no other from going', async () => {
  const backend = new FaultyBackend();
  backend.localImages.add('a:1').add('b:1');
  const hang = backend.faults.hang('images.remove');
  const purge = purgeImages({ images: backend.images, logger: silentLogger }, ['a:1', 'b:1'], OPTIONS);
  await hang.entered;
  await backend.faults.reached('images.remove', 2);
  hang.release();
  expect(await purge).toEqual([
    { image: 'a:1', error: null },
    { image: 'b:1', error: null },
  ]);
});

test('the backend is asked with the wishes of the caller', async () => {
  const asked: unknown[] = [];
  const { images } = new FaultyBackend();
  const remove = (...args: unknown[]) => {
    asked.push(args);
    return Promise.resolve();
  };
  await purgeImages({ images: { ...images, remove }, logger: silentLogger }, ['a:1'], {
    force: true,
    noprune: false,
  });
  expect(asked).toEqual([['a:1', { force: true, isPruningParents: true }]]);
});
