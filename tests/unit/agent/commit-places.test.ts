import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commitPlaces, refuseLinksOutside } from '../../../src/agent/commit-places.js';
import { parseKernelId } from '../../../src/core/ids.js';

const kernelId = parseKernelId('0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e');
const places = (subdir: string, filename: string | null = null) =>
  commitPlaces('/commits', { kernelId, subdir, filename });

test('a file and its lock are in the directory that the caller names', () => {
  expect(places('user@example.org', 'mine.tar.gz')).toEqual({
    directory: '/commits/user@example.org',
    lock: `/commits/user@example.org/lock/${kernelId}`,
    partial: `/commits/user@example.org/.${kernelId}.partial`,
    target: '/commits/user@example.org/mine.tar.gz',
    shownTarget: 'user@example.org/mine.tar.gz',
  });
});

test('without a file name, or with an empty one, there is no file', () => {
  expect(places('user')).toMatchObject({ target: null, shownTarget: null });
  expect(places('user', '')).toMatchObject({ target: null, shownTarget: null });
});

test('the shown path is tidied as Python tidies it', () => {
  expect(places('a//b/', 'c/d.tar.gz').shownTarget).toBe('a/b/c/d.tar.gz');
});

test.each(['..', '../other', 'a/../../b', '/commits/a', '/etc', 'a\0b', 'a/lock', 'lock'])(
  'the directory %j is refused',
  (subdir) => {
    expect(() => places(subdir)).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }));
  },
);

test.each(['../x', '..', '.', 'a/../../x', '/commits/user/x', 'a\0b', 'lock/x', 'lock'])(
  'the file %j is refused',
  (filename) => {
    expect(() => places('user', filename)).toThrow('stays below the image commit path');
  },
);

test('a link that leads outside is refused, one that stays inside is not', async () => {
  const base = await mkdtemp(join(tmpdir(), 'spl-cp-'));
  try {
    const root = join(base, 'root');
    await mkdir(join(root, 'real'), { recursive: true });
    await mkdir(join(base, 'outside'));
    await symlink(join(base, 'outside'), join(root, 'leaves'));
    await symlink(join(root, 'real'), join(root, 'stays'));
    await expect(refuseLinksOutside(root, join(root, 'leaves'))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    await refuseLinksOutside(root, join(root, 'stays'));
    await refuseLinksOutside(root, root);
  } finally {
    await rm(base, { recursive: true });
  }
});
