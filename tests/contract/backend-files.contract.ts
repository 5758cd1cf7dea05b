import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import type { BackendFiles, KernelHandle } from '../../src/backends/backend.js';
import type { BackendHarness } from './backend.contract.js';

const MIB = 1024 * 1024;
const NEVER = new AbortController().signal;
const bytes = (text: string): Uint8Array => Buffer.from(text);

/** Names and contents of a tar archive; directories end in `/`, links show where they lead. */
async function entriesOf(archive: Uint8Array): Promise<Record<string, string>> {
  const entries: Record<string, string> = {};
  const tar = extract();
  tar.end(Buffer.from(archive));
  for await (const entry of tar) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, linkname } = entry.header;
    entries[name] = type === 'symlink' ? `-> ${linkname}` : Buffer.concat(chunks).toString();
  }
  return entries;
}

/** Files of a kernel, as every backend shows them. The kernel runs; its work directory is at hand here, too. */
export function describeBackendFiles(name: string, makeHarness: () => Promise<BackendHarness>): void {
  describe(`${name} backend, files`, () => {
    let harness: BackendHarness;
    let handle: KernelHandle;
    let files: BackendFiles;
    let work: string;
    let outside: string;

    beforeEach(async () => {
      harness = await makeHarness();
      const backend = await harness.open();
      const plan = await harness.plan();
      handle = await backend.create(plan, NEVER);
      await backend.start(handle, NEVER);
      await harness.stub(plan).ready();
      files = backend.files;
      work = harness.workOf(plan);
      outside = await mkdtemp(join(tmpdir(), 'spl-outside-'));
      await writeFile(join(outside, 'secret'), 'not yours');
    });
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
      await rm(outside, { recursive: true, force: true });
    });

    const outsideIsUntouched = async () => {
      expect(await readdir(outside)).toEqual(['secret']);
      expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('not yours');
    };

    test('an uploaded file comes back, its directories are made, and it can be overwritten', async () => {
      await files.upload(handle, 'a/b/c.txt', bytes('first, and longer'));
      expect(await readFile(join(work, 'a/b/c.txt'), 'utf8')).toBe('first, and longer');
      await files.upload(handle, './a/x/../b//c.txt', bytes('second'));
      expect(Buffer.from(await files.downloadSingle(handle, 'a/b/c.txt', MIB)).toString()).toBe('second');
      expect((await stat(join(work, 'a/b/c.txt'))).mode & 0o777).toBe(0o644);
      expect(await readdir(join(work, 'a'))).toEqual(['b']);
      expect(await readdir(join(work, 'a/b'))).toEqual(['c.txt']);
    });

    test('an upload keeps the mode of what it overwrites', async () => {
      await writeFile(join(work, 'run.sh'), 'echo 1', { mode: 0o755 });
      await files.upload(handle, 'run.sh', bytes('echo 2'));
      expect((await stat(join(work, 'run.sh'))).mode & 0o777).toBe(0o755);
    });

    describePaths(() => ({ files, handle }));

    test('links that lead outside are refused, as the last name and on the way', async () => {
      await symlink(outside, join(work, 'door'));
      await symlink(join(outside, 'secret'), join(work, 'window'));
      await symlink('../../../../../../../../../../etc', join(work, 'up'));
      const refused = { pythonName: 'PermissionError' };
      for (const path of ['door/secret', 'window', 'up/passwd']) {
        await expect(files.downloadSingle(handle, path, MIB)).rejects.toMatchObject(refused);
        await expect(files.downloadArchive(handle, path, MIB)).rejects.toMatchObject(refused);
        await expect(files.upload(handle, path, bytes('overwritten'))).rejects.toMatchObject(refused);
      }
      await expect(files.upload(handle, 'door/new', bytes('x'))).rejects.toMatchObject(refused);
      await expect(files.upload(handle, 'door/deep/new', bytes('x'))).rejects.toMatchObject(refused);
      await expect(files.list(handle, 'door')).rejects.toMatchObject(refused);
      await outsideIsUntouched();
    });

    test('links that stay inside are followed', async () => {
      await files.upload(handle, 'data/v1/model', bytes('weights'));
      await symlink('v1', join(work, 'data/latest'));
      await symlink('../data/./latest/../v1/model', join(work, 'data/model'));
      await symlink('/home/work/data', join(work, 'absolute'));
      for (const path of [
        'data/latest/model',
        'data/model',
        'absolute/model',
        '/home/work/absolute/v1/model',
      ])
        expect(Buffer.from(await files.downloadSingle(handle, path, MIB)).toString()).toBe('weights');
      await files.upload(handle, 'data/latest/model', bytes('better'));
      expect(await readFile(join(work, 'data/v1/model'), 'utf8')).toBe('better');
    });

    test('links in a circle are an error, not a hang', async () => {
      await symlink('b', join(work, 'a'));
      await symlink('a', join(work, 'b'));
      await expect(files.downloadSingle(handle, 'a', MIB)).rejects.toMatchObject({
        pythonName: 'RuntimeError',
      });
      await expect(files.upload(handle, 'a', bytes('x'))).rejects.toMatchObject({
        pythonName: 'RuntimeError',
      });
      expect((await files.list(handle, 'a')).errors).not.toBe('');
    });

    test('a directory that turns into a link meanwhile never leads outside', async () => {
      await mkdir(join(work, 'real'));
      await mkdir(join(work, 'swap'));
      const kernel = { swaps: true };
      // The kernel's side of the race: `swap` is a directory, a link outside, nothing, in turn.
      const swapper = (async () => {
        while (kernel.swaps) {
          await rm(join(work, 'swap'), { recursive: true, force: true }).catch(() => undefined);
          await symlink(outside, join(work, 'swap')).catch(() => undefined);
          await rm(join(work, 'swap'), { recursive: true, force: true }).catch(() => undefined);
          await mkdir(join(work, 'swap')).catch(() => undefined);
        }
      })();
      const outcomes = { done: 0, refused: 0 };
      for (let round = 0; round < 300; round += 1) {
        const tries = [
          files.upload(handle, 'swap/secret', bytes('overwritten')),
          files.upload(handle, `swap/new-${String(round)}`, bytes('x')),
          files.downloadSingle(handle, 'swap/secret', MIB).then((content) => {
            expect(Buffer.from(content).toString()).toBe('overwritten');
          }),
        ];
        for (const result of await Promise.allSettled(tries))
          if (result.status === 'fulfilled') outcomes.done += 1;
          else {
            expect(result.reason).toMatchObject({
              pythonName: expect.stringMatching(/^(Permission|Runtime)Error$/),
            });
            outcomes.refused += 1;
          }
      }
      kernel.swaps = false;
      await swapper;
      expect(outcomes.done + outcomes.refused).toBe(900);
      await outsideIsUntouched();
    });

    test('pipes and directories in the place of a file are refused at once', async () => {
      execFileSync('mkfifo', [join(work, 'pipe')]);
      await mkdir(join(work, 'directory'));
      await expect(files.downloadSingle(handle, 'pipe', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
      });
      await expect(files.downloadArchive(handle, 'pipe', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
      });
      await expect(files.downloadSingle(handle, 'directory', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
      });
      const refused = { pythonName: 'RuntimeError' };
      await expect(files.upload(handle, 'pipe', bytes('x'))).rejects.toMatchObject(refused);
      await expect(files.upload(handle, 'directory', bytes('x'))).rejects.toMatchObject(refused);
      await expect(files.upload(handle, '.', bytes('x'))).rejects.toMatchObject(refused);
      await expect(files.upload(handle, 'pipe/x', bytes('x'))).rejects.toMatchObject(refused);
    });

    test('a missing file is a RuntimeError in the words of the original', async () => {
      for (const path of ['missing', 'not/there'])
        for (const download of ['downloadArchive', 'downloadSingle'] as const)
          await expect(files[download](handle, path, MIB)).rejects.toMatchObject({
            pythonName: 'RuntimeError',
            message: `Could not download the archive to: ${path}`,
          });
    });

    test('an archive holds the directory with its links, without pipes', async () => {
      await files.upload(handle, 'project/src/main.py', bytes('print(1)'));
      await files.upload(handle, 'project/empty.txt', bytes(''));
      await symlink(outside, join(work, 'project/link'));
      execFileSync('mkfifo', [join(work, 'project/pipe')]);
      expect(await entriesOf(await files.downloadArchive(handle, 'project', MIB))).toEqual({
        'project/': '',
        'project/empty.txt': '',
        'project/link': `-> ${outside}`,
        'project/src/': '',
        'project/src/main.py': 'print(1)',
      });
      expect(
        await entriesOf(await files.downloadArchive(handle, '/home/work/project/src/main.py', MIB)),
      ).toEqual({
        'main.py': 'print(1)',
      });
      expect(Object.keys(await entriesOf(await files.downloadArchive(handle, '', MIB)))).toContain(
        'work/project/src/main.py',
      );
    });

    test('what exceeds the bound is a ValueError, before it is read', async () => {
      const message = 'Too large archive file exceeding 1 MiB';
      await writeFile(join(work, 'big'), '');
      await truncate(join(work, 'big'), 1024 * 1024 * MIB);
      await expect(files.downloadSingle(handle, 'big', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
        message,
      });
      await expect(files.downloadArchive(handle, 'big', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
        message,
      });
      await expect(files.downloadArchive(handle, '.', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
        message,
      });
      await truncate(join(work, 'big'), MIB);
      expect(await files.downloadSingle(handle, 'big', MIB)).toHaveLength(MIB);
      await expect(files.downloadArchive(handle, 'big', MIB)).rejects.toMatchObject({
        pythonName: 'ValueError',
        message,
      });
      await truncate(join(work, 'big'), MIB - 1536);
      expect((await files.downloadArchive(handle, 'big', MIB)).length).toBeLessThanOrEqual(MIB);
    });

    test('a listing shows modes, sizes and times, and links as links', async () => {
      await files.upload(handle, 'shown/b.txt', bytes('12345'));
      await mkdir(join(work, 'shown/a'), { mode: 0o750 });
      await symlink('/etc/passwd', join(work, 'shown/c'));
      const { entries, errors } = await files.list(handle, 'shown');
      expect(errors).toBe('');
      expect(entries.map(({ filename, mode }) => [filename, mode])).toEqual([
        ['a', 'drwxr-x---'],
        ['b.txt', '-rw-r--r--'],
        ['c', 'lrwxrwxrwx'],
      ]);
      const file = entries[1];
      expect(file?.sizeBytes).toBe(5);
      expect(file?.mtimeMs).toBeGreaterThan(1.6e12);
      const home = await files.list(handle, '/home/work');
      expect(home.entries.map(({ filename }) => filename)).toContain('shown');
      expect((await files.list(handle, '')).entries).toHaveLength(home.entries.length);
    });

    test('a listing of what is no directory says so and does not fail', async () => {
      await files.upload(handle, 'file', bytes('x'));
      for (const path of ['missing', 'file', 'file/below', 'missing/below']) {
        const { entries, errors } = await files.list(handle, path);
        expect(entries).toEqual([]);
        expect(errors).not.toBe('');
      }
    });
  });
}

/** Where files are only taken and never kept, too. */
export function describeFilePaths(name: string, makeHarness: () => Promise<BackendHarness>): void {
  describe(`${name} backend, paths of files`, () => {
    let harness: BackendHarness;
    let handle: KernelHandle;
    let files: BackendFiles;

    beforeEach(async () => {
      harness = await makeHarness();
      const backend = await harness.open();
      handle = await backend.create(await harness.plan(), NEVER);
      await backend.start(handle, NEVER);
      files = backend.files;
    });
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
    });

    describePaths(() => ({ files, handle }));
  });
}

/** Paths that lead outside as they are written. */
function describePaths(context: () => { readonly files: BackendFiles; readonly handle: KernelHandle }): void {
  test.each(['../escape', 'a/../../escape', '/home/work/escape', '/etc/escape', '/', '..', 'a\0b'])(
    'upload to %j is refused',
    async (path) => {
      await expect(context().files.upload(context().handle, path, bytes('x'))).rejects.toMatchObject({
        pythonName: 'PermissionError',
        message: 'Not allowed to upload files outside /home/work',
      });
    },
  );

  test.each(['../secret', '/etc/passwd', '/home/work/../../etc/passwd', '/home/workshop', '..', '/'])(
    'download and list of %j are refused',
    async (path) => {
      const refused = { pythonName: 'PermissionError' };
      const { files, handle } = context();
      await expect(files.downloadArchive(handle, path, MIB)).rejects.toMatchObject(refused);
      await expect(files.downloadSingle(handle, path, MIB)).rejects.toMatchObject(refused);
      await expect(files.list(handle, path)).rejects.toMatchObject(refused);
    },
  );

  test.each(['a', 'a/../b', './a/x/../b//c'])('%j is a path of the home directory', async (path) => {
    const { files, handle } = context();
    await files.upload(handle, path, bytes('x'));
    expect((await files.list(handle, `/home/work/${path}/..`)).errors).toBe('');
  });
}
