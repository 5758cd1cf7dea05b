import { realpath } from 'node:fs/promises';
import { isAbsolute, join, posix, relative, resolve, sep } from 'node:path';
import { PermissionError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';

/** Where one commit of a kernel writes (spec/kernel-lifecycle.md 4.2). */
export interface CommitPlaces {
  readonly directory: string;
  readonly lock: string;
  /** What becomes `target` when it is whole. */
  readonly partial: string;
  /** Null: the image stays with the engine. */
  readonly target: string | null;
  /** `target` as the caller may know it, relative to the root. */
  readonly shownTarget: string | null;
}

export const LOCK_DIRECTORY = 'lock';

/** @throws PermissionError for a path that leads outside of the root, or to the locks. */
export function commitPlaces(
  root: string,
  commit: { readonly kernelId: KernelId; readonly subdir: string; readonly filename: string | null },
): CommitPlaces {
  const { kernelId, subdir } = commit;
  // As in the original, an empty name is no name.
  const filename = commit.filename === '' ? null : commit.filename;
  const directory = below(root, subdir, 'subdir');
  const target = filename === null ? null : below(directory, filename, 'filename');
  if (target === directory) throw refusal('filename', filename ?? '');
  return {
    directory,
    lock: join(directory, LOCK_DIRECTORY, kernelId),
    partial: partialOf(directory, kernelId),
    target,
    shownTarget: filename === null ? null : posix.join(subdir, filename),
  };
}

export const partialOf = (directory: string, kernelId: string): string =>
  join(directory, `.${kernelId}.partial`);

/** Where links lead is only known once the directory is there. @throws PermissionError */
export async function refuseLinksOutside(root: string, directory: string): Promise<void> {
  const [realRoot, real] = await Promise.all([realpath(root), realpath(directory)]);
  if (real !== realRoot && !real.startsWith(`${realRoot}${sep}`))
    throw refusal('a link in', relative(root, directory));
}

function below(base: string, path: string, what: string): string {
  const found = resolve(base, path);
  const inside = relative(base, found).split(sep);
  if (isAbsolute(path) || path.includes('\0') || inside[0] === '..' || inside.includes(LOCK_DIRECTORY))
    throw refusal(what, path);
  return found;
}

const refusal = (what: string, path: string): PermissionError =>
  new PermissionError(
    `${what} ${JSON.stringify(path)} does not lead to a place for committed images: ` +
      `give a relative path that stays below the image commit path and has no part named '${LOCK_DIRECTORY}'`,
  );
