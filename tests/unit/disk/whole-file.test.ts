import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeWhole } from '../../../src/disk/whole-file.js';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'whole-file-'));
});
afterEach(() => rm(directory, { recursive: true }));

test('a file is replaced as a whole, and only its owner may read it', async () => {
  const path = join(directory, 'record.json');
  await writeWhole(path, 'old');
  await writeWhole(path, 'new');
  expect(await readFile(path, 'utf8')).toBe('new');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['record.json']);
});

test('a write that fails leaves nothing behind', async () => {
  const path = join(directory, 'record.json');
  await mkdir(path);
  await expect(writeWhole(path, 'new')).rejects.toMatchObject({ code: 'EISDIR' });
  expect(await readdir(directory)).toEqual(['record.json']);
});
