import { Etcd3, type IOptions } from 'etcd3';
import { within } from '../core/async.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StoreUnavailableError } from './errors.js';
import { EtcdWatch } from './etcd-watch.js';
import type { KeyChange, KeyEvent, KeyValue, KeyValueStore, KeyWatch } from './key-value-store.js';
import type { TlsMaterial } from './tls-files.js';

export interface EtcdStoreOptions {
  /** `http://host:port`, all members of one cluster. */
  readonly endpoints: readonly string[];
  readonly credentials?: { readonly user: string; readonly password: string } | null;
  /** Absent: plain text. */
  readonly tls?: TlsMaterial | null;
  /** For one operation; default 5000. */
  readonly timeoutMs?: number;
  readonly logger: Logger;
}

/** Notices a member that is gone without a word, while a watch is open. etcd refuses a pace below five seconds. */
const KEEPALIVE = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 } as const;

/** etcd v3 through one client for the process (spec/events-and-stores.md 1). */
export class EtcdStore implements KeyValueStore {
  readonly #client: Etcd3;
  readonly #endpoints: string;
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  readonly #watches = new Set<EtcdWatch>();
  #lastFailure: string | null = null;
  #closed = false;

  constructor(options: EtcdStoreOptions) {
    const timeoutMs = options.timeoutMs ?? 5000;
    const clientOptions: IOptions = {
      hosts: [...options.endpoints],
      dialTimeout: timeoutMs,
      grpcOptions: KEEPALIVE,
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + timeoutMs }),
    };
    const { credentials, tls } = options;
    if (credentials) clientOptions.auth = { username: credentials.user, password: credentials.password };
    if (tls)
      clientOptions.credentials = {
        rootCertificate: tls.ca,
        ...(tls.client ? { privateKey: tls.client.key, certChain: tls.client.cert } : {}),
      };
    this.#client = new Etcd3(clientOptions);
    this.#endpoints = options.endpoints.join(', ');
    this.#timeoutMs = timeoutMs;
    this.#logger = options.logger;
  }

  get(key: string): Promise<string | null> {
    return this.#attempt(() => this.#client.get(key).string());
  }

  async list(prefix: string): Promise<readonly KeyValue[]> {
    const found = await this.#attempt(() =>
      this.#client.getAll().prefix(prefix).sort('Key', 'Ascend').exec(),
    );
    return found.kvs.map((pair) => [pair.key.toString(), pair.value.toString()]);
  }

  async write(changes: readonly KeyChange[]): Promise<void> {
    const [first] = changes;
    if (!first) return;
    const operations = changes.map((change) => {
      switch (change.type) {
        case 'put':
          return this.#client.put(change.key).value(change.value);
        case 'delete':
          return this.#client.delete().key(change.key);
        case 'delete-prefix':
          return this.#client.delete().prefix(change.prefix);
      }
    });
    // The library has no transaction without a comparison: this one always holds.
    const key = first.type === 'delete-prefix' ? first.prefix : first.key;
    await this.#attempt(() =>
      this.#client
        .if(key, 'Version', '>', -1)
        .then(...operations)
        .commit(),
    );
  }

  async watch(prefix: string, listener: (event: KeyEvent) => void): Promise<KeyWatch> {
    const watch = new EtcdWatch({ client: this.#client, prefix, listener, logger: this.#logger });
    this.#watches.add(watch);
    await this.#attempt(() => watch.start());
    return {
      close: async () => {
        this.#watches.delete(watch);
        await watch.close();
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#watches].map((watch) => watch.close()));
    this.#client.close();
  }

  async #attempt<T>(operation: () => Promise<T>): Promise<T> {
    try {
      // The library tries again by itself, each time with a limit of its own.
      return await within(operation(), { timeoutMs: 2 * this.#timeoutMs, what: 'etcd' });
    } catch (error) {
      // After some failures the library fails at once for a while: why it did before says more.
      const message = messageOf(error);
      if (!isBrokenCircuitError(error)) this.#lastFailure = message;
      throw new StoreUnavailableError(`etcd at ${this.#endpoints}: ${this.#lastFailure ?? message}`, {
        cause: error,
        retryable: true,
      });
    }
  }
}

const isBrokenCircuitError = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'isBrokenCircuitError' in error;
