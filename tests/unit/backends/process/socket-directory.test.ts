import { chmod, mkdir, mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSocketDirectory } from '../../../../src/backends/process/socket-directory.js';

describe('socket directory', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spl-sd-'));
    await chmod(root, 0o755);
  });
  afterEach(() => rm(root, { recursive: true }));

  const choose = (options: { configured?: string; stateDirectory?: string; runtimeDirectory?: string }) =>
    openSocketDirectory({
      configured: options.configured ?? null,
      stateDirectory: options.stateDirectory ?? join(root, 'state'),
      runtimeDirectory: options.runtimeDirectory ?? null,
    });
  const deep = () => join(root, 'd'.repeat(90));

  test('lies below the state directory if that is short enough, closed to listing', async () => {
    expect(await choose({})).toBe(join(root, 'state/run'));
    expect((await stat(join(root, 'state/run'))).mode & 0o777).toBe(0o711);
  });

  test('falls back to the runtime directory when the state directory is too deep', async () => {
    expect(await choose({ stateDirectory: deep(), runtimeDirectory: root })).toBe(join(root, 'splenium'));
  });

  test('a configured one is taken or refused, never replaced', async () => {
    expect(await choose({ configured: join(root, 'mine') })).toBe(join(root, 'mine'));
    await expect(choose({ configured: deep() })).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      message: expect.stringMatching(/bytes too long for the path of a socket/),
    });
  });

  test('one that others may write to, or a link, is refused', async () => {
    await mkdir(join(root, 'open'));
    await chmod(join(root, 'open'), 0o777);
    await symlink(root, join(root, 'link'));
    for (const configured of [join(root, 'open'), join(root, 'link')])
      await expect(choose({ configured })).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  });
});
