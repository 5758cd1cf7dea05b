import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findHostMounts } from '../../../../src/backends/docker/host-facts.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'splenium-host-'));
});
afterEach(() => rm(root, { recursive: true }));

const put = async (path: string, text: string) => {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
};

test('what the machine does not have is not mounted (C15)', async () => {
  expect(await findHostMounts(root)).toEqual([]);
  await put('etc/timezone', 'Etc/UTC');
  expect(await findHostMounts(root)).toEqual([
    { source: join(root, 'etc/timezone'), target: '/etc/timezone', permission: 'ro' },
  ]);
});

test('files of lxcfs that are empty are not mounted (C15)', async () => {
  await put('var/lib/lxcfs/proc/swaps', '');
  await put('var/lib/lxcfs/proc/uptime', '1 1');
  expect((await findHostMounts(root)).map(({ target }) => target)).toEqual(['/proc/uptime']);
});
