import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkTree, type Place, type ShownFolder } from '../../../../src/backends/files/work-tree.js';

/** Folders that cover names of the work directory in the kernel's view only, as mounts of a container do. */
describe('mounted folders', () => {
  let root: string;
  let tree: WorkTree;
  const refusal = 'outside';
  const kindAt = (path: string) => tree.at(path, { refusal }, (place) => Promise.resolve(place.kind));
  const writableAt = (path: string) =>
    tree.at(path, { refusal }, (place: Place) =>
      Promise.resolve(place.kind === 'directory' ? place.at.writable : place.parent.writable),
    );

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spl-tree-'));
    for (const path of ['work/plain', 'work/data', 'data/sub', 'data/inner', 'inner', 'read-only'])
      await mkdir(join(root, path), { recursive: true });
    await writeFile(join(root, 'work/data/covered'), '');
    await writeFile(join(root, 'data/shown'), '');
    await writeFile(join(root, 'inner/deep'), '');
    const folders: ShownFolder[] = [
      { at: 'data', source: join(root, 'data'), permission: 'rw' },
      { at: 'data/inner', source: join(root, 'inner'), permission: 'rw' },
      { at: 'not/made/yet', source: join(root, 'read-only'), permission: 'ro' },
    ];
    tree = new WorkTree({ work: join(root, 'work'), folders, view: 'mounted' });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test('cover what lies in the work directory, one inside another too', async () => {
    expect(await kindAt('data/shown')).toBe('file');
    expect(await kindAt('data/covered')).toBe('missing');
    expect(await kindAt('data/inner/deep')).toBe('file');
    expect(await kindAt('/home/work/data/sub')).toBe('directory');
  });

  test('have the work directory above them', async () => {
    expect(await kindAt('data/../plain')).toBe('directory');
    await symlink('../../plain', join(root, 'data/sub/up'));
    expect(await kindAt('data/sub/up')).toBe('directory');
    await symlink('../../../plain', join(root, 'data/sub/too-far'));
    await expect(kindAt('data/sub/too-far')).rejects.toMatchObject({ pythonName: 'PermissionError' });
  });

  test('are reached by absolute links as the kernel sees them, not by their place on this machine', async () => {
    await symlink('/home/work/data/shown', join(root, 'work/plain/link'));
    expect(await kindAt('plain/link')).toBe('file');
    await symlink(join(root, 'data'), join(root, 'work/plain/direct'));
    await expect(kindAt('plain/direct')).rejects.toMatchObject({ pythonName: 'PermissionError' });
  });

  test('keep their permission', async () => {
    await mkdir(join(root, 'work/not/made'), { recursive: true });
    expect(await writableAt('data/new')).toBe(true);
    expect(await writableAt('not/made/yet/new')).toBe(false);
    await expect(
      tree.at('not/made/yet/a/b', { refusal, create: { uid: null, gid: null } }, () => Promise.resolve()),
    ).rejects.toMatchObject({ pythonName: 'PermissionError' });
  });
});
