import { randomUUID } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasCode, messageOf } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Logger } from '../core/logger.js';
import { syncDirectory, writeWhole } from '../disk/whole-file.js';
import type { Kernel, KernelFacts } from './kernel.js';
import { decodeRecord, encodeRecord } from './kernel-record.js';

const RECORD_FILE = /^([0-9a-f-]{36})\.json$/;
const TEMPORARY_FILE = /\.tmp$/;

/**
 * The kernels of one agent on disk: `<state>/agents/<agent id>/kernels/<kernel id>.json`, one file a kernel. A record
 * that `record` has resolved for survives a crash of the process and of the machine. An unreadable file is set aside
 * beside the others, never deleted and never in the way.
 */
export class KernelJournal {
  readonly directory: string;
  readonly #agentId: AgentId;
  readonly #logger: Logger;
  /** Writes of one kernel reach the disk in the order in which they were asked for. */
  readonly #queue = new KeyedQueue<KernelId>();

  constructor(options: {
    readonly stateDirectory: string;
    readonly agentId: AgentId;
    readonly logger: Logger;
  }) {
    this.#agentId = options.agentId;
    this.#logger = options.logger;
    this.directory = join(options.stateDirectory, 'agents', options.agentId, 'kernels');
  }

  /** Keeps the kernel as it is now. @throws when the disk refuses; the record of before is then still there. */
  record(kernel: Kernel): Promise<void> {
    const text = encodeRecord(kernel.facts);
    return this.#queue.run(kernel.id, () => this.#write(kernel.id, text));
  }

  /** Idempotent. */
  forget(kernelId: KernelId): Promise<void> {
    return this.#queue.run(kernelId, async () => {
      await rm(this.#path(kernelId), { force: true });
      await syncDirectory(this.directory);
    });
  }

  /** Is there a record of this kernel, readable or not? */
  async has(kernelId: KernelId): Promise<boolean> {
    return access(this.#path(kernelId)).then(
      () => true,
      () => false,
    );
  }

  /** All records that can be read; the others are set aside and logged. */
  async load(): Promise<readonly KernelFacts[]> {
    const records: KernelFacts[] = [];
    for (const name of await this.#names()) {
      if (TEMPORARY_FILE.test(name)) {
        await rm(join(this.directory, name), { force: true });
        continue;
      }
      const kernelId = RECORD_FILE.exec(name)?.[1];
      if (kernelId === undefined) continue;
      const path = join(this.directory, name);
      try {
        const facts = decodeRecord(await readFile(path, 'utf8'));
        if (facts.agentId !== this.#agentId)
          throw new Error(`the record is of agent ${facts.agentId}, this is agent ${this.#agentId}`);
        if (facts.request.kernelId !== kernelId)
          throw new Error(`the record is of kernel ${facts.request.kernelId}`);
        records.push(facts);
      } catch (error) {
        await this.#setAside(name, error);
      }
    }
    return records;
  }

  /** Resolves once everything that was asked for is done. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  #path(kernelId: KernelId): string {
    return join(this.directory, `${kernelId}.json`);
  }

  async #names(): Promise<readonly string[]> {
    try {
      return (await readdir(this.directory)).sort();
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async #setAside(name: string, error: unknown): Promise<void> {
    const asideName = `${name}.unreadable-${randomUUID()}`;
    await rename(join(this.directory, name), join(this.directory, asideName));
    this.#logger.error(
      'kernel record cannot be read; set aside, its kernel is taken over from its container if that is complete',
      {
        agentId: this.#agentId,
        file: join(this.directory, asideName),
        error: messageOf(error),
      },
    );
  }

  async #makeDirectory(): Promise<void> {
    const topmost = await mkdir(this.directory, { recursive: true, mode: 0o700 });
    if (topmost === undefined) return;
    for (let path = dirname(this.directory); path.length >= dirname(topmost).length; path = dirname(path)) {
      await syncDirectory(path);
      if (path === dirname(path)) break;
    }
  }

  async #write(kernelId: KernelId, text: string): Promise<void> {
    await this.#makeDirectory();
    await writeWhole(this.#path(kernelId), text);
    await syncDirectory(this.directory);
  }
}
