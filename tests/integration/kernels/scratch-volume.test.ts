import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { scratchPaths } from '../../../src/kernels/lifecycle/plan-mounts.js';
import { prepareScratch, removeScratch, ScratchOwner } from '../../../src/kernels/lifecycle/scratch.js';
import { parseMountPoints } from '../../../src/kernels/lifecycle/scratch-volume.js';
import { requirement } from '../../support/requirements.js';

const KERNEL = '0123abcd-0000-4000-8000-000000000001';
const MIB = 1024 * 1024;
const TMPFS_MAGIC = 0x01021994;
const EXT4_MAGIC = 0xef53;

/** In a container without the right to mount, or without loop devices, there is nothing to test. */
function canMount(args: readonly string[]): boolean {
  const directory = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
  try {
    execFileSync('sh', ['-c', args.join(' ').replaceAll('$DIR', directory)], { stdio: 'ignore' });
    execFileSync('umount', [join(directory, 'mnt')], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    execFileSync('rm', ['-rf', directory]);
  }
}

const hasTmpfs = requirement(
  'the right to mount: scratch directories in memory',
  process.getuid?.() === 0 && canMount(['mkdir $DIR/mnt && mount -t tmpfs tmpfs $DIR/mnt']),
  { installable: false },
);
const hasLoop = requirement(
  'loop devices: scratch directories in image files',
  process.getuid?.() === 0 &&
    canMount([
      'mkdir $DIR/mnt && truncate -s 8M $DIR/img && mkfs.ext4 -q -F $DIR/img && mount -o loop $DIR/img $DIR/mnt',
    ]),
  { installable: false },
);

let root: string;
const owner = new ScratchOwner({ uid: null, gid: null }, silentLogger);
const file = { path: 'work/kept', data: 'x', mode: 0o644, directoryMode: null, ofKernel: false };
const mounts = async () =>
  parseMountPoints(await readFile('/proc/self/mountinfo', 'utf8')).filter((point) => point.startsWith(root));
const magicOf = async (path: string) => (await statfs(path)).type;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'splenium scratch '));
});
afterEach(async () => {
  for (const point of (await mounts()).reverse()) execFileSync('umount', ['--lazy', point]);
  await rm(root, { recursive: true, force: true });
});

test('mount points are read with their blanks', () => {
  const line = '36 35 98:0 / /mnt/a\\040b\\134c rw,noatime - tmpfs tmpfs rw';
  expect(parseMountPoints(`${line}\n`)).toEqual(['/mnt/a b\\c']);
});

(hasTmpfs ? describe : describe.skip)('memory', () => {
  const volume = { type: 'memory', imageBytes: 0 } as const;

  test('two small file systems hold the kernel, and nothing is left of them', async () => {
    const scratch = scratchPaths(root, KERNEL, 'memory');
    await prepareScratch(scratch, [file], owner, { volume, devices: ['cuda'] });
    expect(await mounts()).toEqual([scratch.root, scratch.tmp]);
    for (const path of [scratch.root, String(scratch.tmp)]) {
      expect(await magicOf(path)).toBe(TMPFS_MAGIC);
      const { blocks, bsize } = await statfs(path);
      expect(blocks * bsize).toBe(64 * MIB);
    }
    expect((await stat(String(scratch.tmp))).mode & 0o7777).toBe(0o1777);
    expect((await stat(scratch.root)).mode & 0o777).toBe(0o755);
    expect(await readdir(scratch.config)).toEqual(['cuda']);
    expect(await readFile(join(scratch.work, 'kept'), 'utf8')).toBe('x');
    await removeScratch(scratchPaths(root, KERNEL));
    expect(await readdir(root)).toEqual([]);
    expect(await mounts()).toEqual([]);
    await removeScratch(scratch);
  });

  test('what crashed runs have left, more than once even, is unmounted before a new kernel', async () => {
    const scratch = scratchPaths(root, KERNEL, 'memory');
    await mkdir(scratch.root);
    for (let crash = 0; crash < 2; crash += 1)
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', scratch.root], { stdio: 'ignore' });
    await writeFile(join(scratch.root, 'old'), '');
    await prepareScratch(scratch, [], owner, { volume });
    expect(await readdir(scratch.root)).toEqual(['config', 'work']);
    expect(await mounts()).toEqual([scratch.root, scratch.tmp]);
    await removeScratch(scratch);
    expect(await readdir(root)).toEqual([]);
  });

  test('a mount that fails is an error and no directory on the disk', async () => {
    const scratch = { ...scratchPaths(root, KERNEL), tmp: join(root, 'no', 'such', 'place') };
    await expect(prepareScratch(scratch, [], owner, { volume })).rejects.toThrow(/no such/);
    await removeScratch(scratch);
    expect(await readdir(root)).toEqual([]);
  });
});

(hasLoop ? describe : describe.skip)('hostfile', () => {
  const volume = { type: 'hostfile', imageBytes: 32 * MIB } as const;

  test('a file system in a sparse file holds the kernel, and nothing is left of it', async () => {
    const scratch = scratchPaths(root, KERNEL);
    await prepareScratch(scratch, [file], owner, { volume });
    expect(await mounts()).toEqual([scratch.root]);
    expect(await magicOf(scratch.root)).toBe(EXT4_MAGIC);
    const image = await stat(`${scratch.root}.img`);
    expect(image.size).toBe(32 * MIB);
    expect(image.blocks * 512).toBeLessThan(16 * MIB);
    await removeScratch(scratch);
    expect(await readdir(root)).toEqual([]);
    expect(await mounts()).toEqual([]);
  });
});

test('a file system that cannot be made is told with the words of the program', async () => {
  const scratch = scratchPaths(root, KERNEL);
  const volume = { type: 'hostfile', imageBytes: 1024 } as const;
  await expect(prepareScratch(scratch, [], owner, { volume })).rejects.toMatchObject({
    code: 'SCRATCH_MOUNT_FAILED',
    message: expect.stringContaining('mkfs.ext4'),
  });
  await removeScratch(scratch);
  expect(await readdir(root)).toEqual([]);
});
