import { isAbsolute } from 'node:path';
import { ValueError } from '../core/errors.js';

/** One line item of `MOUNTS=`; the same shape as in a kernel's creation result. */
export interface MountEntry {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  readonly source: string | null;
  readonly target: string;
  readonly permission: 'ro' | 'rw' | 'wd';
}

const PERMISSIONS = ['ro', 'rw', 'wd'] as const;

/** `source:target:permission`; a missing source is `None` (spec/config-and-resources.md 4.4). */
export const writeMount = ({ source, target, permission }: MountEntry): string =>
  `${source ?? 'None'}:${target}:${permission}`;

/** The text does not say the type: an absolute source is a bind, a bare name a volume. @throws ValueError. */
export function parseMount(text: string): MountEntry {
  const [source, target, mode, ...rest] = text.split(':');
  const permission = PERMISSIONS.find((candidate) => candidate === mode);
  if (source === undefined || target === undefined || rest.length > 0 || permission === undefined)
    throw new ValueError(`not a mount "source:target:ro|rw|wd": '${text.slice(0, 200)}'`);
  if (!isAbsolute(target)) throw new ValueError('Mount target must be an absolute path.');
  if (source === 'None') return { type: 'tmpfs', source: null, target, permission };
  if (isAbsolute(source)) return { type: 'bind', source, target, permission };
  if (source === '' || source.includes('/'))
    throw new ValueError('Mount source must be an absolute path if it is not a volume name.');
  return { type: 'volume', source, target, permission };
}
