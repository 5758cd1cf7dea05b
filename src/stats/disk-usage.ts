import type { Questions } from '../core/questions.js';
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
  readonly questions: Questions;
}

/** Space on the mounted filesystems. One that does not answer is left out, and delays one round by its time limit. */
export class DiskUsage {
  readonly #parts: DiskUsageParts;
  #measuring: Promise<readonly DiskSpace[]> | undefined;

  constructor(parts: DiskUsageParts) {
    this.#parts = parts;
  }

  /** Agents that ask at the same time share one pass. */
  measure(): Promise<readonly DiskSpace[]> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  async #measure(): Promise<readonly DiskSpace[]> {
    const [mounts, filesystems] = await Promise.all([
      this.#parts.readText('/proc/mounts'),
      this.#parts.readText('/proc/filesystems'),
    ]);
    const found: DiskSpace[] = [];
    for (const mount of parseRealMounts(mounts, filesystems)) {
      const space = await this.#ask(mount);
      if (space) found.push(space);
    }
    return found;
  }

  /** Null: unmounted meanwhile, not ours to see, or stuck. */
  async #ask({ device, mountPoint }: Mount): Promise<DiskSpace | null> {
    const { questions, statfs } = this.#parts;
    const space = await questions.ask(`space of ${mountPoint}`, () => statfs(mountPoint));
    if (!space) return null;
    const { bsize, blocks, bavail } = space;
    return { device, usedBytes: bsize * (blocks - bavail), capacityBytes: bsize * blocks };
  }
}
