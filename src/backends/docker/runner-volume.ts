import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../../core/errors.js';
import { findLibraries } from './dynamic-libraries.js';
import { RunnerVolumeError } from './errors.js';
import { RUNNER_HOME } from './runner-start.js';
import { zeromqFiles } from './zeromq-files.js';

const MANIFEST = 'volume.json';
const DIGEST_CHARS = 24;

const manifestSchema = z.object({
  version: z.literal(1),
  architecture: z.string(),
  node: z.string(),
  /** Name of the loader in the volume. */
  loader: z.string(),
  /** Path below the volume -> what it holds. */
  files: z.record(z.string(), z.object({ mode: z.number(), sizeBytes: z.number(), sha256: z.string() })),
});
type Manifest = z.infer<typeof manifestSchema>;

/** A directory that is mounted read-only into every kernel; nothing in it changes once it has its name. */
export interface RunnerVolume {
  readonly directory: string;
  readonly loader: string;
}

export interface RunnerVolumeSources {
  /** Where volumes lie, each under a name that says what it holds. */
  readonly root: string;
  /** The bundled kernel runner; its `zeromq` is found from where it lies. */
  readonly runnerPath: string;
  /** The bundled entry point, which becomes the runner. */
  readonly entrypointPath: string;
  /** Default: the Node.js that runs this program. */
  readonly nodePath?: string;
}

interface Source {
  readonly mode: number;
  readonly from: { readonly path: string } | { readonly text: string };
}

/** What Node.js calls itself would otherwise be the loader, which runs no script. */
const EXEC_PATH = `process.execPath = '${RUNNER_HOME}/bin/node';\n`;
const nodeCommand = (loader: string) =>
  `#!/bin/sh\nexec ${RUNNER_HOME}/${loader} --library-path ${RUNNER_HOME}/lib ${RUNNER_HOME}/node --import ${RUNNER_HOME}/exec-path.mjs "$@"\n`;

/**
 * Makes the volume, or finds it made: Node.js, its loader and libraries and the runner, so that kernels need
 * nothing of their image but its architecture. Concurrent builds of one volume do not disturb each other.
 * @throws RunnerVolumeError when a part cannot be found or copied.
 */
export async function buildRunnerVolume(sources: RunnerVolumeSources): Promise<RunnerVolume> {
  try {
    const { loader, files } = await collect(sources);
    const manifest = await describe(loader, files);
    const directory = join(sources.root, nameOf(manifest));
    const found = await openRunnerVolume(directory).catch(() => null);
    if (found) return found;
    await write(directory, files, manifest);
    return await openRunnerVolume(directory);
  } catch (error) {
    if (hasCode(error, 'RUNNER_VOLUME')) throw error;
    throw new RunnerVolumeError(`cannot build the runner volume below ${sources.root}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** @throws RunnerVolumeError when something is missing, changed, of another mode, or not what the name promises. */
export async function openRunnerVolume(directory: string): Promise<RunnerVolume> {
  const damaged = (why: string, cause?: unknown) =>
    new RunnerVolumeError(`the runner volume ${directory} ${why}: remove it and start again`, { cause });
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(await readFile(join(directory, MANIFEST), 'utf8')));
  } catch (error) {
    throw damaged('has no readable manifest', error);
  }
  if (basename(directory) !== nameOf(manifest)) throw damaged('is not what its name says');
  for (const [path, { mode, sizeBytes, sha256 }] of Object.entries(manifest.files)) {
    const from = join(directory, path);
    const stats = await lstat(from).catch(() => null);
    if (!stats?.isFile() || stats.size !== sizeBytes || (stats.mode & 0o777) !== mode)
      throw damaged(`lacks ${path} or has another one`);
    if ((await digestOf({ path: from })).sha256 !== sha256) throw damaged(`has another ${path}`);
  }
  return { directory, loader: manifest.loader };
}

async function collect({ runnerPath, entrypointPath, nodePath = process.execPath }: RunnerVolumeSources) {
  const files = new Map<string, Source>();
  const zeromq = await zeromqFiles(runnerPath);
  const { loader, libraries } = await findLibraries([nodePath, zeromq.addon]);
  const loaderName = basename(loader);
  const add = (path: string, from: string, mode = 0o644) => files.set(path, { mode, from: { path: from } });
  add(loaderName, loader, 0o755);
  for (const library of libraries) add(join('lib', basename(library)), library, 0o755);
  add('node', nodePath, 0o755);
  add('entrypoint.mjs', entrypointPath);
  add('kernel-runner.mjs', runnerPath);
  for (const [path, from] of zeromq.files) add(join('node_modules', path), from);
  for (const [path, text] of zeromq.texts)
    files.set(join('node_modules', path), { mode: 0o644, from: { text } });
  files.set('exec-path.mjs', { mode: 0o644, from: { text: EXEC_PATH } });
  files.set('bin/node', { mode: 0o755, from: { text: nodeCommand(loaderName) } });
  return { loader: loaderName, files };
}

async function describe(loader: string, sources: ReadonlyMap<string, Source>): Promise<Manifest> {
  const files: Record<string, Manifest['files'][string]> = {};
  for (const [path, { mode, from }] of [...sources].sort(([a], [b]) => (a < b ? -1 : 1))) {
    files[path] = { mode, ...(await digestOf(from)) };
  }
  return { version: 1, architecture: process.arch, node: process.version, loader, files };
}

async function digestOf(
  from: Source['from'],
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const chunks =
    'text' in from ? [Buffer.from(from.text)] : createReadStream(from.path, { highWaterMark: 1 << 20 });
  for await (const chunk of chunks) {
    hash.update(chunk as Buffer);
    sizeBytes += (chunk as Buffer).length;
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

const nameOf = (manifest: Manifest): string =>
  `runner-${createHash('sha256').update(JSON.stringify(manifest)).digest('hex').slice(0, DIGEST_CHARS)}`;

/** The directory gets its name when it is complete. Kernels of any user read it, whatever this process's umask is. */
async function write(
  directory: string,
  files: ReadonlyMap<string, Source>,
  manifest: Manifest,
): Promise<void> {
  const nonce = randomBytes(6).toString('hex');
  const draft = join(dirname(directory), `.new-${nonce}`);
  try {
    await mkdir(draft, { recursive: true });
    for (const [path, { mode, from }] of files) {
      const target = join(draft, path);
      await mkdir(dirname(target), { recursive: true });
      if ('text' in from) await writeFile(target, from.text);
      else await copyFile(from.path, target);
      await chmod(target, mode);
    }
    await writeFile(join(draft, MANIFEST), JSON.stringify(manifest));
    await chmod(join(draft, MANIFEST), 0o644);
    await chmod(draft, 0o755);
    for (const entry of await readdir(draft, { recursive: true, withFileTypes: true }))
      if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o755);
    try {
      await rename(draft, directory);
    } catch (error) {
      if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error;
      // Another process was faster, or what is there is damaged. Running kernels may still use that: it stays.
      if (await openRunnerVolume(directory).catch(() => null)) return;
      await rename(directory, join(dirname(directory), `.damaged-${nonce}`));
      await rename(draft, directory);
    }
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
