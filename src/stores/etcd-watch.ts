import type { Etcd3, Watcher } from 'etcd3';
import { within } from '../core/async.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { KeyEvent, KeyValue } from './key-value-store.js';

/** An event and the revision of the store that it made, a decimal number. */
interface Revised {
  readonly event: KeyEvent;
  readonly revision: string;
}

const CANCEL_MS = 1000;
const RETRY_MS = { first: 500, most: 30_000 } as const;

/**
 * Watches one prefix for good. After every interruption it opens a new watch, lists the prefix and reports what has
 * changed in between, so that nothing is missed even if etcd came back empty or has compacted its history.
 */
export class EtcdWatch {
  readonly #client: Etcd3;
  readonly #prefix: string;
  readonly #listener: (event: KeyEvent) => void;
  readonly #logger: Logger;
  /** What the listener has been told. */
  #known = new Map<string, string>();
  #watcher: Watcher | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs: number = RETRY_MS.first;
  #closed = false;

  constructor(options: {
    readonly client: Etcd3;
    readonly prefix: string;
    readonly listener: (event: KeyEvent) => void;
    readonly logger: Logger;
  }) {
    this.#client = options.client;
    this.#prefix = options.prefix;
    this.#listener = options.listener;
    this.#logger = options.logger;
  }

  /** Resolves once changes are seen; what is there already is not reported. */
  async start(): Promise<void> {
    await this.#open((pairs) => {
      this.#known = new Map(pairs);
      return 'not reported';
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#drop();
  }

  async #open(onListed: (pairs: readonly KeyValue[]) => 'reported' | 'not reported'): Promise<void> {
    // A cheap call first: it renews the token of a login that etcd has forgotten, which a watch would not.
    await this.#client.get(this.#prefix).exists();
    const watcher = await this.#client.watch().prefix(this.#prefix).create();
    if (this.#closed) {
      await watcher.cancel();
      return;
    }
    this.#watcher = watcher;
    // Events that arrive while the list is on its way wait for it.
    const early: Revised[] = [];
    let report = (revised: Revised) => void early.push(revised);
    watcher.on('put', ({ key, value, mod_revision: revision }) => {
      report({ event: { type: 'put', key: key.toString(), value: value.toString() }, revision });
    });
    watcher.on('delete', ({ key, mod_revision: revision }) => {
      report({ event: { type: 'delete', key: key.toString() }, revision });
    });
    watcher.once('disconnected', () => {
      this.#interrupted(watcher, 'disconnected');
    });
    watcher.once('error', (error) => {
      this.#interrupted(watcher, messageOf(error));
    });
    const { header, kvs } = await this.#client.getAll().prefix(this.#prefix).exec();
    const outcome = onListed(kvs.map(({ key, value }) => [key.toString(), value.toString()]));
    report = ({ event }) => {
      this.#report(event);
    };
    // The list may hold what an early event tells of: it is not told twice.
    const toldRevision = outcome === 'reported' ? BigInt(header.revision) : -1n;
    for (const { event, revision } of early) if (BigInt(revision) > toldRevision) this.#report(event);
    this.#retryMs = RETRY_MS.first;
  }

  #interrupted(watcher: Watcher, reason: string): void {
    if (this.#closed || this.#watcher !== watcher) return;
    this.#logger.warn('watch interrupted', { prefix: this.#prefix, reason });
    void this.#drop();
    this.#reopenLater();
  }

  #reopenLater(): void {
    this.#retry = setTimeout(() => {
      this.#open((pairs) => {
        this.#reconcile(pairs);
        return 'reported';
      }).catch(async () => {
        await this.#drop();
        if (!this.#closed) this.#reopenLater();
      });
    }, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS.most);
  }

  async #drop(): Promise<void> {
    const watcher = this.#watcher;
    this.#watcher = undefined;
    watcher?.removeAllListeners();
    // An 'error' without a listener would end the process.
    watcher?.on('error', () => undefined);
    // A member that is frozen never confirms it.
    const cancelled = watcher?.cancel().catch(() => undefined);
    if (cancelled)
      await within(cancelled, { timeoutMs: CANCEL_MS, what: 'the end of a watch' }).catch(() => undefined);
  }

  #reconcile(pairs: readonly KeyValue[]): void {
    const present = new Map(pairs);
    for (const key of [...this.#known.keys()]) if (!present.has(key)) this.#report({ type: 'delete', key });
    for (const [key, value] of present)
      if (this.#known.get(key) !== value) this.#report({ type: 'put', key, value });
  }

  #report(event: KeyEvent): void {
    if (this.#closed) return;
    if (event.type === 'put') this.#known.set(event.key, event.value);
    else if (!this.#known.delete(event.key)) return;
    try {
      this.#listener(event);
    } catch (error) {
      this.#logger.error('a watch listener failed', { key: event.key, error: messageOf(error) });
    }
  }
}
