import { readlink, rmdir, symlink, unlink } from 'node:fs/promises';
import { hasCode, messageOf } from '../../core/errors.js';
import { KernelProcessStartError } from './errors.js';
import type { MountLink, ProcessState } from './note.js';
import { pathAt, WorkTree, type Place } from '../files/work-tree.js';

const REFUSAL = 'a folder of the session lies outside /home/work';

/**
 * Shows the plan's folders as links below the work directory. An empty directory in the place of one gives way.
 * @throws KernelProcessStartError when something else is there.
 */
export async function linkMounts(state: ProcessState): Promise<void> {
  // Without mounts: a folder inside another one would leave a link in the user's own data.
  const tree = new WorkTree({ work: state.work, folders: [], view: 'linked' });
  for (const mount of state.mounts)
    try {
      await tree.at(
        parentOf(mount),
        { refusal: REFUSAL, create: { uid: state.uid, gid: state.gid, last: true } },
        async (place) => {
          if (place.kind !== 'directory') throw new KernelProcessStartError('its parent is not a directory');
          await link(place, mount);
        },
      );
    } catch (error) {
      throw new KernelProcessStartError(
        `cannot show folder ${mount.source} at /home/work/${mount.at}: ${messageOf(error)}`,
        { cause: error },
      );
    }
}

/** Takes the links away again; whatever else took their place stays. */
export async function unlinkMounts(state: ProcessState): Promise<void> {
  const tree = new WorkTree({ work: state.work, folders: [], view: 'linked' });
  for (const mount of state.mounts)
    await tree
      .at(parentOf(mount), { refusal: REFUSAL }, async (place) => {
        if (place.kind !== 'directory') return;
        const path = pathAt(place.at.handle, nameOf(mount));
        if ((await readlink(path)) === mount.source) await unlink(path);
      })
      .catch(() => undefined);
}

async function link(place: Place & { kind: 'directory' }, mount: MountLink): Promise<void> {
  const path = pathAt(place.at.handle, nameOf(mount));
  try {
    await symlink(mount.source, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    const existing = await readlink(path).catch(() => null);
    if (existing === mount.source) return;
    if (existing !== null) await unlink(path);
    else await rmdir(path);
    await symlink(mount.source, path);
  }
}

const parentOf = ({ at }: MountLink): string => at.split('/').slice(0, -1).join('/');
const nameOf = ({ at }: MountLink): string => at.split('/').at(-1) ?? at;
