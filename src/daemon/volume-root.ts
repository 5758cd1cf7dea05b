import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { within } from '../core/async.js';
import { hasCode } from '../core/errors.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import { StoreUnavailableError } from '../stores/errors.js';

/** Either name counts, as with the original; the first one that is there. */
const KEYS = ['mount', '_mount'] as const;
const LOOK_MS = 5000;

/**
 * The directory of volumes that the shared configuration names (spec/events-and-stores.md 1.4, row 6). A node where it
 * is not there cannot give kernels their folders: it must not be offered for scheduling before it is.
 */
export class VolumeRoot {
  readonly #view: AgentEtcdView;
  readonly #cwd: string;
  /** A dead file server answers no look at it; one that hangs is not followed by a second one, which would hang too. */
  readonly #looks = new Map<string, Promise<boolean>>();

  constructor(parts: { readonly view: AgentEtcdView; readonly cwd: string }) {
    this.#view = parts.view;
    this.#cwd = parts.cwd;
  }

  /** @throws StoreUnavailableError as long as a directory is named that is not there. */
  async check(): Promise<void> {
    const named = await this.#view.getPrefix('volumes');
    for (const key of KEYS) {
      const text = named.get(key);
      if (typeof text !== 'string' || text === '') continue;
      const path = resolve(this.#cwd, text);
      const isThere = await within(this.#look(path), { timeoutMs: LOOK_MS, what: path }).catch(
        (error: unknown) => {
          if (hasCode(error, 'TIMEOUT')) return null;
          throw error;
        },
      );
      if (isThere === true) return;
      const why = isThere === null ? 'which does not answer' : 'which is no directory of this machine';
      throw new StoreUnavailableError(
        `volumes/${key} of the store is ${path}, ${why}: mount it there, or correct the key`,
      );
    }
  }

  #look(path: string): Promise<boolean> {
    const known = this.#looks.get(path);
    if (known) return known;
    const look = stat(path)
      .then(
        (found) => found.isDirectory(),
        () => false,
      )
      .finally(() => {
        this.#looks.delete(path);
      });
    this.#looks.set(path, look);
    return look;
  }
}
