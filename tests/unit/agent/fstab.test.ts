import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { editFstab, withEntry, withoutEntry } from '../../../src/agent/fstab.js';

const FILE = '# static file systems\n/dev/sda1 / ext4 defaults 0 1\n\nserver:/a /mnt/a nfs defaults 0 0\n';

const entry = (changes: object = {}) => ({
  device: 'server:/b',
  mountPoint: '/mnt/b',
  fsType: 'nfs',
  options: 'ro,soft',
  ...changes,
});

test('an entry is added at the end, everything else stays', () => {
  expect(withEntry(FILE, entry())).toBe(`${FILE}server:/b /mnt/b nfs ro,soft 0 0\n`);
});

test('no options are defaults, and a last line without its end gets one', () => {
  expect(withEntry('a b c', entry({ options: null }))).toBe('a b c\nserver:/b /mnt/b nfs defaults 0 0\n');
});

test('an entry takes the place of the one for the same mount point', () => {
  const twice = withEntry(withEntry(FILE, entry()), entry({ options: 'rw' }));
  expect(twice).toBe(`${FILE}server:/b /mnt/b nfs rw 0 0\n`);
});

test('white space in a field is written in octal and found again', () => {
  const text = withEntry('', entry({ mountPoint: '/mnt/two words', device: 'server:/tab\there' }));
  expect(text).toBe('server:/tab\\011here /mnt/two\\040words nfs ro,soft 0 0\n');
  expect(withoutEntry(text, '/mnt/two words')).toBe('');
});

test('only entries of the mount point are taken out, comments and neighbours stay', () => {
  expect(withoutEntry(withEntry(FILE, entry()), '/mnt/b')).toBe(FILE);
  expect(withoutEntry('# server:/b /mnt/b nfs\n', '/mnt/b')).toBe('# server:/b /mnt/b nfs\n');
  expect(withoutEntry(FILE, '/mnt')).toBe(FILE);
});

describe('the file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'splenium-fstab-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  test('is replaced as a whole and keeps its mode', async () => {
    const path = join(directory, 'fstab');
    await writeFile(path, FILE, { mode: 0o640 });
    await editFstab(path, (text) => withEntry(text, entry()));
    expect(await readFile(path, 'utf8')).toContain('/mnt/b');
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(await readdir(directory)).toEqual(['fstab']);
  });

  test('must be there and be a file of its own', async () => {
    await expect(editFstab(join(directory, 'absent'), () => '')).rejects.toThrow('ENOENT');
    await writeFile(join(directory, 'real'), '');
    await symlink(join(directory, 'real'), join(directory, 'link'));
    await expect(editFstab(join(directory, 'link'), () => 'x')).rejects.toThrow('no regular file');
  });
});
