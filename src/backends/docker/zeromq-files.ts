import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { messageOf } from '../../core/errors.js';
import { RunnerVolumeError } from './errors.js';

/** What of the packages `zeromq` and `cmake-ts`, its loader of native code, a kernel needs. */
export interface ZeromqFiles {
  /** The native part, for this machine's architecture and C library. */
  readonly addon: string;
  /** Path below `node_modules` -> where it lies here. */
  readonly files: ReadonlyMap<string, string>;
  readonly texts: ReadonlyMap<string, string>;
}

const buildSchema = z.object({
  os: z.string(),
  arch: z.string(),
  libc: z.string(),
  abi: z.number().optional(),
});
const LIBC = ['glibc', 'musl'];

/** @throws RunnerVolumeError when the runner's `zeromq` is not installed or has no build that loads here. */
export async function zeromqFiles(runnerPath: string): Promise<ZeromqFiles> {
  const { zeromq, cmakeTs } = packagesOf(runnerPath);
  const builds = z
    .record(z.string(), z.string())
    .parse(JSON.parse(await readFile(join(zeromq, 'build/manifest.json'), 'utf8')));
  const { key, addon } = await loadableBuild(join(zeromq, 'build'), builds);
  const files = new Map<string, string>([
    ['zeromq/package.json', join(zeromq, 'package.json')],
    [join('zeromq/build', addon), join(zeromq, 'build', addon)],
    ['cmake-ts/package.json', join(cmakeTs, 'package.json')],
    ['cmake-ts/build/loader.js', join(cmakeTs, 'build/loader.js')],
  ]);
  for (const entry of await readdir(join(zeromq, 'lib'), { recursive: true, withFileTypes: true }))
    if (entry.isFile() && entry.name.endsWith('.js')) {
      const path = join(entry.parentPath, entry.name);
      files.set(join('zeromq', relative(zeromq, path)), path);
    }
  return {
    addon: join(zeromq, 'build', addon),
    files,
    texts: new Map([['zeromq/build/manifest.json', manifestFor(key, addon)]]),
  };
}

function packagesOf(runnerPath: string): { readonly zeromq: string; readonly cmakeTs: string } {
  try {
    const zeromq = dirname(createRequire(runnerPath).resolve('zeromq/package.json'));
    const loader = createRequire(join(zeromq, 'lib/index.js')).resolve('cmake-ts/build/loader');
    return { zeromq, cmakeTs: dirname(dirname(loader)) };
  } catch (error) {
    throw new RunnerVolumeError(`zeromq of ${runnerPath} is not installed: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function loadableBuild(directory: string, builds: Readonly<Record<string, string>>) {
  const candidates = Object.entries(builds)
    .map(([key, addon]) => ({ key, addon, build: buildSchema.parse(JSON.parse(key)) }))
    .filter(
      ({ build }) =>
        build.os === process.platform && build.arch === process.arch && LIBC.includes(build.libc),
    )
    .sort((a, b) => (b.build.abi ?? 0) - (a.build.abi ?? 0));
  for (const { key, addon } of candidates) if (await loads(join(directory, addon))) return { key, addon };
  throw new RunnerVolumeError(`zeromq has no build for ${process.platform} on ${process.arch}`);
}

/** In a process of its own: the wrong one may end it. */
async function loads(addon: string): Promise<boolean> {
  try {
    await promisify(execFile)(process.execPath, ['-e', 'require(process.argv[1])', addon], {
      timeout: 30_000,
    });
    return true;
  } catch {
    return false;
  }
}

/** Its loader looks at the image to tell which C library there is; in the volume there is only ours. */
function manifestFor(key: string, addon: string): string {
  const build = z.record(z.string(), z.unknown()).parse(JSON.parse(key));
  return JSON.stringify(Object.fromEntries(LIBC.map((libc) => [JSON.stringify({ ...build, libc }), addon])));
}
