import { readFile, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../core/errors.js';
import type { PlannedMount } from '../backend.js';
import { isMusl, matchDistro } from './base-distro.js';
import { RunnerPackageError } from './errors.js';

/** The original's runner package as it lies on this machine; every part of it is a value. */
export interface RunnerPackage {
  readonly directory: string;
  /** Names in the directory. */
  readonly files: ReadonlySet<string>;
  /** Python packages beside it; null: absent. */
  readonly kernel: string | null;
  readonly helpers: string | null;
  /** Key of a volume -> the Python in it, as far as a package beside it says so. */
  readonly pythonVersions: Readonly<Record<string, string>>;
  /** Key of a volume -> what packages beside it fill one with, for this machine's architecture. */
  readonly archives: Readonly<Record<string, KrunnerArchive>>;
  /** Of the image that unpacks archives; null: absent. */
  readonly extractorImage: string | null;
}

export interface KrunnerArchive {
  readonly path: string;
  /** A number; part of the volume's name. */
  readonly version: string;
}

const HOME = '/opt/kernel';
const VOLUME_HOME = '/opt/backend.ai';
const FALLBACK_PYTHON = '3.6';

/** @throws RunnerPackageError when the directory cannot be read. */
export async function openRunnerPackage(directory: string, arch: string): Promise<RunnerPackage> {
  const files = new Set(
    await readdir(directory).catch((error: unknown) => {
      throw new RunnerPackageError(`the runner package ${directory} cannot be read: ${messageOf(error)}`, {
        cause: error,
      });
    }),
  );
  const beside = async (name: string): Promise<string | null> => {
    const path = join(dirname(directory), name);
    return (await stat(path).catch(() => null))?.isDirectory() ? path : null;
  };
  const volumes = await beside('krunner');
  const extractor = `krunner-extractor.img.${arch}.tar.xz`;
  return {
    directory,
    files,
    kernel: await beside('kernel'),
    helpers: await beside('helpers'),
    ...(volumes === null ? { pythonVersions: {}, archives: {} } : await readVolumePackages(volumes, arch)),
    extractorImage: files.has(extractor) ? join(directory, extractor) : null,
  };
}

async function readVolumePackages(
  root: string,
  arch: string,
): Promise<Pick<RunnerPackage, 'pythonVersions' | 'archives'>> {
  const texts = { python: new Map<string, string>(), version: new Map<string, string>() };
  const paths = new Map<string, string>();
  for (const { name, parentPath } of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(parentPath, name);
    const [, kind, key = ''] = /^krunner-(python|version)\.(.+)\.txt$/.exec(name) ?? [];
    if (kind === 'python' || kind === 'version') texts[kind].set(key, (await readFile(path, 'utf8')).trim());
    const suffix = `.${arch}.tar.xz`;
    if (name.startsWith('krunner-env.') && name.endsWith(suffix))
      paths.set(name.slice('krunner-env.'.length, -suffix.length), path);
  }
  const archives = [...paths].flatMap(([key, path]) => {
    const version = texts.version.get(key);
    return version === undefined ? [] : [[key, { path, version }] as const];
  });
  return { pythonVersions: Object.fromEntries(texts.python), archives: Object.fromEntries(archives) };
}

/** Programs of the package that our own runner can use, too: those that are there (spec/kernel-lifecycle.md 2.11). */
export function helperMounts({ directory, files }: RunnerPackage, arch: string): readonly PlannedMount[] {
  const programs = [
    [`dropbearmulti.${arch}.bin`, `${HOME}/dropbearmulti`],
    [`sftp-server.${arch}.bin`, `${HOME}/sftp-server`],
    [`tmux.${arch}.bin`, `${HOME}/tmux`],
    [`ttyd_linux.${arch}.bin`, `${HOME}/ttyd`],
    ['yank.sh', `${HOME}/yank.sh`],
    [`all-smi.${arch}.bin`, '/usr/local/bin/all-smi'],
  ] as const;
  return programs.flatMap(([name, target]) =>
    files.has(name) ? [{ source: join(directory, name), target, permission: 'ro' as const }] : [],
  );
}

/**
 * Everything that the original's runner needs in a container: the package's files and a volume with its Python
 * (spec/kernel-lifecycle.md 2.11). Files that the original can do without are left out when they are absent. Pure.
 * @throws RunnerPackageError that lists what is missing; UnsupportedBaseDistroError.
 */
export function originalMounts(
  runnerPackage: RunnerPackage,
  options: {
    /** Of the kernel's image. */
    readonly distro: string;
    /** `x86_64`, `aarch64` */
    readonly arch: string;
    /** Key -> name of a volume, or a directory of this machine. */
    readonly volumes: Readonly<Record<string, string>>;
    /** Default: no. */
    readonly isJailed?: boolean;
  },
): readonly PlannedMount[] {
  const { directory, files, kernel, helpers, pythonVersions } = runnerPackage;
  const { distro, arch, volumes, isJailed = false } = options;
  const missing: string[] = [];
  const mounts: PlannedMount[] = [];
  const add = (source: string, target: string) => mounts.push({ source, target, permission: 'ro' });
  const file = (name: string, target: string, isOptional = false) => {
    if (files.has(name)) add(join(directory, name), target);
    else if (!isOptional) missing.push(name);
  };
  const optional = (name: string, target: string) => {
    file(name, target, true);
  };
  file(`su-exec.${arch}.bin`, `${HOME}/su-exec`);
  const matched = (name: string, suffix: string, target: string) => {
    const distros = distrosOf(files, `${name}.`, `.${arch}.${suffix}`);
    if (distros.length === 0) missing.push(`${name}.*.${arch}.${suffix}`);
    else file(`${name}.${matchDistro(distros, distro)}.${arch}.${suffix}`, target);
  };
  matched('libbaihook', 'so', `${HOME}/libbaihook.so`);
  if (isJailed) matched('jail', 'bin', `${HOME}/jail`);
  file(`dropbearmulti.${arch}.bin`, `${HOME}/dropbearmulti`);
  file(`sftp-server.${arch}.bin`, `${HOME}/sftp-server`);
  file(`tmux.${arch}.bin`, `${HOME}/tmux`);
  file(`ttyd_linux.${arch}.bin`, `${HOME}/ttyd`);
  file('yank.sh', `${HOME}/yank.sh`);
  file(`all-smi.${arch}.bin`, '/usr/local/bin/all-smi');
  optional('all-smi.1', '/usr/local/share/man/man1/all-smi.1');
  optional(`bssh.${arch}.bin`, '/usr/local/bin/bssh');
  optional('bssh.1', '/usr/local/share/man/man1/bssh.1');
  optional(`bssh-server.${arch}.bin`, `${HOME}/bssh-server`);
  optional('bssh-server.8', '/usr/local/share/man/man8/bssh-server.8');
  if (isMusl(distro)) file('terminfo.alpine3.8', '/home/work/.terminfo');
  for (const name of [
    'extract_dotfiles.py',
    'entrypoint.sh',
    'fantompass.py',
    'hash_phrase.py',
    'words.json',
  ])
    file(name, `${HOME}/${name}`);
  const key = matchDistro(Object.keys(volumes), distro);
  add(volumes[key] ?? key, VOLUME_HOME);
  const site = `${VOLUME_HOME}/lib/python${pythonVersions[key] ?? FALLBACK_PYTHON}/site-packages/ai/backend`;
  for (const [name, source] of [
    ['kernel', kernel],
    ['helpers', helpers],
  ] as const)
    if (source === null) missing.push(`../${name}`);
    else add(source, `${site}/${name}`);
  if (missing.length > 0)
    throw new RunnerPackageError(
      `the runner package ${directory} lacks ${missing.join(', ')}: install the packages backend.ai-kernel, -kernel-binary and -kernel-helper of one release`,
    );
  return mounts;
}

/** Distributions that the package has such a file for; names without a version are no such files. */
function distrosOf(files: ReadonlySet<string>, prefix: string, suffix: string): readonly string[] {
  return [...files].flatMap((name) => {
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) return [];
    const distro = name.slice(prefix.length, -suffix.length);
    return /^[a-z]+\d+(\.\d+)*$/.test(distro) ? [distro] : [];
  });
}
