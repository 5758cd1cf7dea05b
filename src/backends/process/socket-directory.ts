import { chmod, lstat, mkdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { messageOf } from '../../core/errors.js';
import { ProcessBackendUnavailableError } from './errors.js';

/** `sun_path` has 108 bytes, one of them for the final NUL. */
const SOCKET_PATH_MAX_BYTES = 107;
/** `/<12 hex digits>/out` */
const SOCKET_NAME_BYTES = 1 + 12 + 4;

/**
 * Finds the directory that holds one directory of sockets a kernel. The name must be short, which a state directory
 * deep in the tree is not.
 * @throws ProcessBackendUnavailableError when no candidate will do, with the reason for each.
 */
export async function openSocketDirectory(options: {
  /** Taken as it is, or refused. */
  readonly configured: string | null;
  readonly stateDirectory: string;
  readonly runtimeDirectory: string | null;
}): Promise<string> {
  const { configured, stateDirectory, runtimeDirectory } = options;
  const candidates =
    configured === null
      ? [
          join(stateDirectory, 'run'),
          ...(runtimeDirectory === null ? [] : [join(runtimeDirectory, 'splenium')]),
          join(tmpdir(), `splenium-${String(process.getuid?.() ?? 0)}`),
        ]
      : [configured];
  const reasons: string[] = [];
  const usable: string[] = [];
  for (const candidate of candidates) {
    const length = Buffer.byteLength(candidate) + SOCKET_NAME_BYTES;
    if (length > SOCKET_PATH_MAX_BYTES) {
      reasons.push(
        `${candidate} is ${String(length - SOCKET_PATH_MAX_BYTES)} bytes too long for the path of a socket`,
      );
      continue;
    }
    try {
      await claim(candidate);
      // Root may give kernels identities of their own, and these have to get through all directories above.
      if (process.getuid?.() !== 0 || (await closedAbove(candidate)) === null) return candidate;
      usable.push(candidate);
    } catch (error) {
      reasons.push(`${candidate}: ${messageOf(error)}`);
    }
  }
  const [first] = usable;
  if (first !== undefined) return first;
  throw new ProcessBackendUnavailableError(
    `no directory for the kernels' sockets: ${reasons.join('; ')}. Configure a short one that the agent owns`,
  );
}

/** Whoever owns the directory can put a socket of his own in place of a kernel's. */
async function claim(directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: 0o755 });
  // Kernels with an identity of their own must reach their directory below, but not list the others.
  if (made !== undefined) await chmod(directory, 0o711);
  const stats = await lstat(directory);
  if (!stats.isDirectory()) throw new ProcessBackendUnavailableError('not a directory');
  if (stats.uid !== process.getuid?.())
    throw new ProcessBackendUnavailableError(`owned by uid ${String(stats.uid)}, not by this agent`);
  if ((stats.mode & 0o022) !== 0) throw new ProcessBackendUnavailableError('others may write to it');
}

/** The directory at or above the path that other users cannot pass; null when they can reach it. */
export async function closedAbove(directory: string): Promise<string | null> {
  for (let path = directory; ; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return path;
    if (path === dirname(path)) return null;
  }
}
