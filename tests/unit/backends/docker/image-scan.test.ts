import type { ImageDetails, ListedImage } from '../../../../src/backends/docker/engine-schemas.js';
import { ImageScan, isKernelImage } from '../../../../src/backends/docker/image-scan.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const DETAILS: ImageDetails = { Architecture: 'amd64', Config: { Labels: { any: '1' } } };

/** What an engine lists, and what it says of each; what it is not asked to say is gone. */
function scanOf(listed: ListedImage[], details: Record<string, ImageDetails | null>) {
  const asked: string[] = [];
  const log = new RecordedLog();
  const scan = new ImageScan(
    {
      list: () => Promise.resolve(listed),
      inspect: (id) => {
        asked.push(id);
        return Promise.resolve(details[id] ?? null);
      },
    },
    log,
  );
  return { scan, asked, log, listed };
}

test.each([
  [null, false],
  [{}, true],
  [{ other: 'x' }, true],
  [{ 'ai.backend.kernelspec': '1' }, true],
  [{ 'ai.backend.kernelspec': ' 1 ' }, true],
  [{ 'ai.backend.kernelspec': '0' }, false],
  [{ 'ai.backend.kernelspec': '2' }, false],
  [{ 'ai.backend.kernelspec': '1.0' }, false],
  [{ 'ai.backend.kernelspec': '' }, false],
])('labels %j: %s', (labels, usable) => {
  expect(isKernelImage(labels)).toBe(usable);
});

test('images without names are not even looked at', async () => {
  const { scan, asked } = scanOf(
    [
      { Id: 'a', RepoTags: [] },
      { Id: 'b', RepoTags: ['<none>:<none>'] },
      { Id: 'c', RepoTags: ['x/y:1-', '<none>:<none>'] },
    ],
    {},
  );
  expect(await scan.scan()).toEqual([]);
  expect(asked).toEqual([]);
});

test('an image that is gone between list and inspection is left out, one without configuration too', async () => {
  const { scan } = scanOf(
    [
      { Id: 'gone', RepoTags: ['x/gone:1'] },
      { Id: 'bare', RepoTags: ['x/bare:1'] },
      { Id: 'good', RepoTags: ['x/good:1', 'y/good:2'] },
    ],
    { bare: { Architecture: '', Config: null }, good: DETAILS },
  );
  expect(await scan.scan()).toEqual([
    { canonical: 'x/good:1', digest: 'good', architecture: 'x86_64' },
    { canonical: 'y/good:2', digest: 'good', architecture: 'x86_64' },
  ]);
});

test('an image is inspected once for as long as it is there', async () => {
  const image = { Id: 'a', RepoTags: ['x/a:1'] };
  const { scan, asked, listed } = scanOf([image], { a: DETAILS });
  await scan.scan();
  await scan.scan();
  expect(asked).toEqual(['a']);
  listed.length = 0;
  expect(await scan.scan()).toEqual([]);
  listed.push(image);
  expect(await scan.scan()).toHaveLength(1);
  expect(asked).toEqual(['a', 'a']);
});
