import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { EngineContainers } from './engine-containers.js';
import { KERNEL_LABEL } from './kernel-labels.js';

/** A draft of a build that is going on is younger. */
const DRAFT_AGE_MS = 3_600_000;

/** Names of what may go: versions and damaged ones that no container mounts, and drafts that nobody finishes. Pure. */
export function prunableVolumes(
  root: string,
  entries: readonly { readonly name: string; readonly ageMs: number }[],
  used: ReadonlySet<string>,
): readonly string[] {
  return entries
    .filter(({ name, ageMs }) =>
      name.startsWith('.new-')
        ? ageMs > DRAFT_AGE_MS
        : (name.startsWith('runner-') || name.startsWith('.damaged-')) && !used.has(join(root, name)),
    )
    .map(({ name }) => name);
}

/**
 * Removes runner volumes of earlier versions below `root`. Those that a container mounts stay, whether it runs or
 * may be started again, and so does `current`. Trouble is told and is no reason not to go on.
 */
export async function pruneRunnerVolumes(
  { root, current }: { readonly root: string; readonly current: string },
  {
    containers,
    clock,
    logger,
  }: {
    readonly containers: Pick<EngineContainers, 'list'>;
    readonly clock: Clock;
    readonly logger: Logger;
  },
): Promise<void> {
  try {
    const kernels = await containers.list([KERNEL_LABEL]);
    const sources = kernels.flatMap(({ Mounts }) => Mounts.flatMap(({ Source }) => Source ?? []));
    const entries = [];
    for (const name of await readdir(root)) {
      const stats = await stat(join(root, name)).catch(() => null);
      if (stats?.isDirectory()) entries.push({ name, ageMs: clock.nowMs() - stats.mtimeMs });
    }
    for (const name of prunableVolumes(root, entries, new Set([current, ...sources]))) {
      await rm(join(root, name), { recursive: true, force: true });
      logger.info('removed a runner volume that no kernel uses', { directory: join(root, name) });
    }
  } catch (error) {
    logger.warn('old runner volumes cannot be removed', { root, error: messageOf(error) });
  }
}
