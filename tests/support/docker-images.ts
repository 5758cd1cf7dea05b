import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pack, type Pack } from 'tar-stream';
import { findLibraries } from '../../src/backends/docker/dynamic-libraries.js';

export const BUSYBOX_IMAGE = 'splenium-test/busybox:1';
export const PYTHON_IMAGE = 'splenium-test/python:1';

const onPath = (name: string): string =>
  execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n';

/** What an image has besides, and which of busybox's programs it lacks. */
export interface RootChanges {
  /** Absolute path -> a file; it replaces one of the same path. */
  readonly files?: Readonly<Record<string, { readonly text: string; readonly mode?: number }>>;
  readonly without?: readonly string[];
  /** Of this machine's C library's directory, for programs from elsewhere; one that is absent is left out. */
  readonly libraries?: readonly string[];
}

const DIRECTORIES = ['bin', 'dev', 'etc', 'home', 'opt', 'proc', 'root', 'sys', 'usr', 'usr/bin', 'var'];

/** Engines take every path once. */
function addFiles(
  tar: Pack,
  files: RootChanges['files'] = {},
  present: readonly string[] = DIRECTORIES,
): void {
  const made = new Set(present);
  for (const [path, { text, mode = 0o644 }] of Object.entries(files)) {
    const parts = path.slice(1).split('/').slice(0, -1);
    parts.forEach((_, index) => {
      const name = parts.slice(0, index + 1).join('/');
      if (!made.has(name)) tar.entry({ name, type: 'directory', mode: 0o755 });
      made.add(name);
    });
    tar.entry({ name: path.slice(1), mode }, text);
  }
}

/** A root file system of one text file: no shell, no account, no directory for temporary files. */
export function bareRoot(): Pack {
  const tar = pack();
  addFiles(tar, { '/only.txt': { text: 'alone' } }, []);
  tar.finalize();
  return tar;
}

function addDirectories(tar: Pack): void {
  for (const name of DIRECTORIES) tar.entry({ name, type: 'directory', mode: 0o755 });
  tar.entry({ name: 'tmp', type: 'directory', mode: 0o1777 });
}

const withAccounts = (files: RootChanges['files']): RootChanges['files'] => ({
  '/etc/passwd': { text: PASSWD },
  '/etc/group': { text: 'root:x:0:\n' },
  ...files,
});

async function addBusybox(tar: Pack, without: readonly string[] = []): Promise<void> {
  tar.entry({ name: 'bin/busybox', mode: 0o755 }, await readFile(await realpath(onPath('busybox'))));
  const applets = execFileSync('busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets)
    if (applet !== 'busybox' && !without.includes(applet))
      tar.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox' });
}

/** A root file system of one program without any library: nothing of it can help the runner. */
export async function busyboxRoot(changes: RootChanges = {}): Promise<Pack> {
  const tar = pack();
  addDirectories(tar);
  await addBusybox(tar, changes.without);
  addFiles(tar, withAccounts(changes.files));
  tar.finalize();
  return tar;
}

/** The same with this machine's Python, its C library and the standard library. */
export async function pythonRoot(changes: RootChanges = {}): Promise<Pack> {
  const python = await realpath('/usr/bin/python3');
  const ask = (expression: string): string =>
    execFileSync(python, ['-S', '-c', `import sys, sysconfig; print(${expression})`], {
      encoding: 'utf8',
    }).trim();
  const library = ask("sysconfig.get_path('stdlib')");
  const dynamic = (await readdir(join(library, 'lib-dynload'))).map((name) =>
    join(library, 'lib-dynload', name),
  );
  const { loader, libraries } = await findLibraries([python, ...dynamic]);
  const tar = pack();
  addDirectories(tar);
  await addBusybox(tar, changes.without);
  const add = async (path: string, from = path) =>
    void tar.entry({ name: path.slice(1), mode: 0o755 }, await readFile(from));
  await add(loader);
  for (const path of libraries) await add(`/lib/${basename(path)}`, path);
  const libc = libraries.find((path) => basename(path).startsWith('libc.so')) ?? '/lib/libc.so.6';
  for (const name of changes.libraries ?? []) {
    const from = join(dirname(libc), name);
    if (existsSync(from) && !libraries.some((path) => basename(path) === name))
      await add(`/lib/${name}`, from);
  }
  await add(python);
  tar.entry({ name: 'usr/bin/python3', type: 'symlink', linkname: python });
  for (const entry of await readdir(library, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !/__pycache__|\/(test|tests|idlelib|lib2to3|ensurepip|config-[^/]*)\//.test(path))
      await add(path);
  }
  addFiles(tar, withAccounts(changes.files));
  tar.finalize();
  return tar;
}
