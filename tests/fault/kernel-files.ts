import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDaemon } from '../support/daemon.js';

/** Where a kernel of a daemon leaves traces on disk. */
export class KernelFilesOnDisk {
  readonly #daemon: TestDaemon;
  readonly #agentId: string;
  readonly #kernelId: string;

  constructor(daemon: TestDaemon, agentId: string, kernelId: string) {
    this.#daemon = daemon;
    this.#agentId = agentId;
    this.#kernelId = kernelId;
  }

  get scratch(): string {
    return join(this.#daemon.scratchRoot, this.#kernelId);
  }

  get hasScratch(): boolean {
    return existsSync(this.scratch);
  }

  /** The state that the journal has of the kernel; empty when it has none. */
  get recordedState(): string {
    const directory = join(this.#daemon.stateDirectory, 'agents', this.#agentId, 'kernels');
    try {
      const record = JSON.parse(readFileSync(join(directory, `${this.#kernelId}.json`), 'utf8')) as {
        readonly state: { readonly name: string };
      };
      return record.state.name;
    } catch {
      return '';
    }
  }

  /** Does one of the scratch directory's files hold the text? */
  says(file: string, text: string): boolean {
    try {
      return readFileSync(join(this.scratch, file), 'utf8').includes(text);
    } catch {
      return false;
    }
  }
}
