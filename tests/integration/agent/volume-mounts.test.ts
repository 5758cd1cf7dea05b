import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VolumeMounts } from '../../../src/agent/volume-mounts.js';
import type { VolumeRequest } from '../../../src/events/volume-requests.js';
import { requirement } from '../../support/requirements.js';

type Mount = Extract<VolumeRequest, { readonly name: 'do_volume_mount' }>;

const mountRequest = (changes: Partial<Mount> = {}): Mount => ({
  name: 'do_volume_mount',
  directory: 'volume',
  quotaScopeId: 'user:11111111-1111-4111-8111-111111111111',
  location: 'tmpfs',
  fsType: 'tmpfs',
  options: 'size=1m',
  fstab: null,
  ...changes,
});
const unmountRequest = (directory = 'volume', fstab: VolumeRequest['fstab'] = null) =>
  ({ name: 'do_volume_unmount', directory, quotaScopeId: 'user:x', fstab }) as const;

let root: string;
let volumes: VolumeMounts;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'splenium-volumes-'));
  volumes = new VolumeMounts({ root, owner: null });
});
afterEach(async () => {
  for (const line of (await mounted()).reverse()) execFileSync('umount', ['-l', line]);
  await rm(root, { recursive: true });
});

async function mounted(): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return lines.flatMap((line) => (line.split(' ')[4]?.startsWith(root) ? [line.split(' ')[4] ?? ''] : []));
}

function canMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const asRoot = requirement('root that may mount', canMount(), { installable: false })
  ? describe
  : describe.skip;

asRoot('a volume', () => {
  test('is mounted where it is asked for, once, and unmounted again', async () => {
    await volumes.mount(mountRequest());
    await volumes.mount(mountRequest());
    expect(await mounted()).toEqual([join(root, 'volume')]);
    await volumes.unmount(unmountRequest(), 10_000);
    await volumes.unmount(unmountRequest(), 10_000);
    expect(await mounted()).toEqual([]);
  });

  test('gets the configured owner', async () => {
    await new VolumeMounts({ root, owner: '1234:2345' }).mount(mountRequest());
    expect(await stat(join(root, 'volume'))).toMatchObject({ uid: 1234, gid: 2345 });
  });

  test('is entered in fstab and taken out of it', async () => {
    const path = join(root, 'fstab');
    await writeFile(path, '# ours\n');
    await volumes.mount(mountRequest({ fstab: { path } }));
    expect(await readFile(path, 'utf8')).toBe(`# ours\ntmpfs ${root}/volume tmpfs size=1m 0 0\n`);
    await volumes.unmount(unmountRequest('volume', { path }), 10_000);
    expect(await readFile(path, 'utf8')).toBe('# ours\n');
  });

  test('that cannot be mounted is an error with the words of the tool', async () => {
    const request = mountRequest({ fsType: 'nosuchfs' });
    await expect(volumes.mount(request)).rejects.toThrow(/^mount failed: mount: /);
    expect(await mounted()).toEqual([]);
  });

  test('whose name or source looks like a command is a name and nothing else', async () => {
    const directory = '$(touch pwned); `id`';
    await volumes.mount(mountRequest({ directory, location: '--bind; touch pwned' }));
    expect(await mounted()).toHaveLength(1);
    await volumes.unmount(unmountRequest(directory), 10_000);
    expect(await mounted()).toEqual([]);
    await expect(stat(join(process.cwd(), 'pwned'))).rejects.toThrow('ENOENT');
  });
});

describe('refused are', () => {
  test.each(['', '.', '..', '../other', 'a/../../other', '/etc', 'a//b', 'a/./b', 'a\0b'])(
    'directories that are not below the root: %j',
    async (directory) => {
      await expect(volumes.mount(mountRequest({ directory }))).rejects.toThrow('no directory below the root');
      await expect(volumes.unmount(unmountRequest(directory), 1000)).rejects.toThrow('no directory below');
    },
  );

  test('symbolic links on the way and at its end', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'splenium-elsewhere-'));
    await symlink(elsewhere, join(root, 'link'));
    await expect(volumes.mount(mountRequest({ directory: 'link/volume' }))).rejects.toThrow('symbolic link');
    await expect(volumes.mount(mountRequest({ directory: 'link' }))).rejects.toThrow('symbolic link');
    await expect(volumes.unmount(unmountRequest('link'), 1000)).rejects.toThrow('symbolic link');
    await rm(elsewhere, { recursive: true });
  });

  test.each([
    { fsType: '-o' },
    { fsType: 'nfs,loop' },
    { fsType: '' },
    { location: '' },
    { location: 'a\nb' },
    { options: 'ro\n/dev/sda1 / ext4' },
  ])('arguments that would be something else: %j', async (changes) => {
    await mkdir(join(root, 'volume'));
    await expect(volumes.mount(mountRequest(changes))).rejects.toMatchObject({ code: 'ARGS_INVALID_VALUE' });
  });
});
