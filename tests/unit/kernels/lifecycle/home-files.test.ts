import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../src/core/logger.js';
import { readHomeFiles } from '../../../../src/kernels/lifecycle/home-files.js';
import type { ScratchFile } from '../../../../src/kernels/lifecycle/plan-scratch.js';
import { prepareScratch, ScratchOwner } from '../../../../src/kernels/lifecycle/scratch.js';

/** No text in any encoding. */
const FONT = Buffer.from([0x00, 0x01, 0x00, 0x00, 0xff, 0xfe, 0x80]);
const RC_FILES = ['.bashrc', '.bash_profile', '.zshrc', '.vimrc', '.tmux.conf'];
const asRoot = process.geteuid?.() === 0 ? test : test.skip;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-home-'));
  await mkdir(join(directory, 'package'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const put = (name: string, data: string | Uint8Array) => writeFile(join(directory, 'package', name), data);
const read = () => readHomeFiles(join(directory, 'package'));

async function prepared(files: readonly ScratchFile[], uid: number | null = null) {
  const root = join(directory, 'scratch');
  const scratch = { root, config: join(root, 'config'), work: join(root, 'work') };
  await prepareScratch(scratch, files, new ScratchOwner({ uid, gid: uid }, silentLogger));
  return scratch.work;
}

test('the files of a package get their places in the home, byte for byte', async () => {
  for (const name of RC_FILES) await put(name, `# ${name}\n`);
  await put('jupyter-custom.css', 'body {}\n');
  await put('logo.svg', '<svg/>');
  for (const name of ['roboto.ttf', 'roboto-italic.ttf']) await put(name, FONT);
  await put('DO_NOT_STORE_PERSISTENT_FILES_HERE.md', 'a notice\n');
  // Neither the package's programs nor what else it has.
  for (const name of ['entrypoint.sh', 'tmux.x86_64.bin', 'README.md']) await put(name, 'x');
  const files = await read();
  expect(files.map(({ path }) => path).sort()).toEqual(
    [
      ...RC_FILES.map((name) => `work/${name}`),
      ...['custom.css', 'logo.svg', 'roboto.ttf', 'roboto-italic.ttf'].map(
        (name) => `work/.jupyter/custom/${name}`,
      ),
      'work/DO_NOT_STORE_PERSISTENT_FILES_HERE.md',
    ].sort(),
  );
  const work = await prepared(files);
  expect(await readFile(join(work, '.zshrc'), 'utf8')).toBe('# .zshrc\n');
  expect(await readFile(join(work, '.jupyter/custom/custom.css'), 'utf8')).toBe('body {}\n');
  expect(await readFile(join(work, '.jupyter/custom/roboto.ttf'))).toEqual(FONT);
  expect((await stat(join(work, '.bashrc'))).mode & 0o777).toBe(0o644);
  expect((await stat(join(work, '.jupyter/custom'))).mode & 0o777).toBe(0o755);
});

test('what a package lacks is left out; what is there and cannot be read is told', async () => {
  await put('.vimrc', 'syntax on\n');
  expect((await read()).map(({ path }) => path)).toEqual(['work/.vimrc']);
  await mkdir(join(directory, 'package', '.bashrc'));
  await expect(read()).rejects.toMatchObject({ code: 'EISDIR' });
});

test('a dotfile of the user takes the place of one of the package', async () => {
  await put('.bashrc', 'of the package\n');
  const own: ScratchFile = {
    path: 'work/.bashrc',
    data: 'of the user\n',
    mode: 0o600,
    directoryMode: null,
    ofKernel: true,
  };
  const work = await prepared([...(await read()), own]);
  expect(await readFile(join(work, '.bashrc'), 'utf8')).toBe('of the user\n');
});

asRoot('the files, and the directories that they are in, belong to the user of the kernel', async () => {
  await put('.bashrc', '');
  await put('logo.svg', '');
  const work = await prepared(await read(), 1234);
  for (const path of ['.', '.bashrc', '.jupyter', '.jupyter/custom', '.jupyter/custom/logo.svg'])
    expect(await stat(join(work, path))).toMatchObject({ uid: 1234, gid: 1234 });
});
