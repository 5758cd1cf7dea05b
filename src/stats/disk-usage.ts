import { within } from '../core/async.js';
import { type Mount, parseRealMounts } from './proc-files.js';

export interface DiskSpace {
  readonly device: string;
  readonly usedBytes: bigint;
  readonly capacityBytes: bigint;
}

/** As `fs.statfs` answers. */
export interface FilesystemSpace {
  readonly bsize: bigint;
  readonly blocks: bigint;
  readonly bavail: bigint;
}

interface DiskUsageParts {
  readonly readText: (path: string) => Promise<string>;
  readonly statfs: (path: string) => Promise<FilesystemSpace>;
  /** Limit of one filesystem's answer. */
  readonly itemTimeoutMs: number;
}

/**
 * A question to a filesystem that hangs occupies one of the few threads that all file access of this process goes
 * through, and nothing can take it back. So a filesystem is asked again only after it has answered, and nobody is
 * asked while this many hang.
 */
const MOST_HANGING = 2;

/** Space on the mounted filesystems. One that does not answer is left out, and delays one round by its time limit. */
export class DiskUsage {
  readonly #parts: DiskUsageParts;
  readonly #pending = new Map<string, Promise<FilesystemSpace>>();

  constructor(parts: DiskUsageParts) {
    this.#parts = parts;
  }

  async measure(): Promise<readonly DiskSpace[]> {
    const [mounts, filesystems] = await Promise.all([
      this.#parts.readText('/proc/mounts'),
      this.#parts.readText('/proc/filesystems'),
    ]);
    const found: DiskSpace[] = [];
    // One after another: whatever still waits is one that hangs.
    for (const mount of parseRealMounts(mounts, filesystems)) {
      const space = await this.#ask(mount);
      if (space) found.push(space);
    }
    return found;
  }

  async #ask({ device, mountPoint }: Mount): Promise<DiskSpace | null> {
    if (this.#pending.has(mountPoint) || this.#pending.size >= MOST_HANGING) return null;
    const answer = this.#parts.statfs(mountPoint);
    this.#pending.set(mountPoint, answer);
    const done = () => {
      this.#pending.delete(mountPoint);
    };
    answer.then(done, done);
    try {
      const { bsize, blocks, bavail } = await within(answer, {
        timeoutMs: this.#parts.itemTimeoutMs,
        what: `the space of ${mountPoint}`,
      });
      return { device, usedBytes: bsize * (blocks - bavail), capacityBytes: bsize * blocks };
    } catch {
      // Unmounted meanwhile, not ours to see, or stuck.
      return null;
    }
  }
}
