import { InstalledImages, vanished } from '../../../src/agent/installed-images.js';
import type { InstalledImage } from '../../../src/backends/backend.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

const image = (canonical: string, digest = 'sha256:1'): InstalledImage => ({
  canonical,
  digest,
  architecture: 'x86_64',
});
const opened: InstalledImages[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop();
});

async function scanning(backend = new FaultyBackend()) {
  const clock = new ManualClock();
  const log = new RecordedLog();
  const installed = await InstalledImages.start({ images: backend.images, clock, logger: log });
  opened.push(installed);
  const removed: InstalledImage[][] = [];
  installed.onRemoved((images) => removed.push([...images]));
  let scans = 1;
  /** Resolves when the next scan has begun. */
  const tick = async () => {
    scans += 1;
    await eventually(() => {
      clock.advance(20_000);
      expect(backend.faults.passed.filter((point) => point === 'images.list').length).toBeGreaterThanOrEqual(
        scans,
      );
    });
  };
  return { backend, clock, log, installed, removed, tick };
}

test('the first scan is over before agents start, and the list follows the machine', async () => {
  const backend = new FaultyBackend();
  backend.localImages.add('a:1').add('b:1');
  const { installed, removed, tick } = await scanning(backend);
  expect(installed.current).toEqual([image('a:1'), image('b:1')]);
  backend.localImages.delete('a:1');
  backend.localImages.add('c:1');
  await tick();
  await eventually(() => {
    expect(installed.current).toEqual([image('b:1'), image('c:1')]);
  });
  expect(removed).toEqual([[image('a:1')]]);
});

test('an engine that fails leaves the list as it was, is complained of once, and nothing counts as gone', async () => {
  const backend = new FaultyBackend();
  backend.localImages.add('a:1');
  const { installed, removed, log, tick } = await scanning(backend);
  backend.faults.fail('images.list', { times: 2 });
  await tick();
  await tick();
  expect(installed.current).toEqual([image('a:1')]);
  await tick();
  await eventually(() => {
    expect(log.lines.map(({ message }) => message)).toEqual([
      'images cannot be listed; trying on',
      'the image scan works again',
    ]);
  });
  expect(removed).toEqual([]);
});

test('until a scan has succeeded nobody can tell what is there', async () => {
  const backend = new FaultyBackend();
  backend.faults.fail('images.list');
  const { installed, tick } = await scanning(backend);
  expect(installed.current).toBeNull();
  await tick();
  await eventually(() => {
    expect(installed.current).toEqual([]);
  });
});

test('a scan that hangs is joined by no other, and the end does not wait for it', async () => {
  const { backend, clock, installed, tick } = await scanning();
  const hang = backend.faults.hang('images.list');
  await tick();
  await hang.entered;
  for (let round = 0; round < 5; round += 1) {
    clock.advance(20_000);
    await new Promise(setImmediate);
  }
  expect(backend.faults.passed.filter((point) => point === 'images.list')).toHaveLength(2);
  await installed.stop();
});

test('a listener that has left hears nothing', async () => {
  const backend = new FaultyBackend();
  backend.localImages.add('a:1');
  const { installed, removed, tick } = await scanning(backend);
  const late: unknown[] = [];
  installed.onRemoved((images) => late.push(images))();
  backend.localImages.clear();
  await tick();
  await eventually(() => {
    expect(removed).toHaveLength(1);
  });
  expect(late).toEqual([]);
});

test('an image of the same name with another id has not vanished', () => {
  expect(vanished([image('a:1'), image('b:1')], [image('a:1', 'sha256:2')])).toEqual([image('b:1')]);
});
