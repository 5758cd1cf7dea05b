import { Etcd3, type IOptions } from 'etcd3';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StoreUnavailableError } from './errors.js';
import { EtcdWatch } from './etcd-watch.js';
import type { KeyChange, KeyEvent, KeyValue, KeyValueStore, KeyWatch } from './key-value-store.js';

export interface EtcdStoreOptions {
  /** `http://host:port`, all members of one cluster. */
  readonly endpoints: readonly string[];
  readonly credentials?: { readonly user: string; readonly password: string } | null;
  /** Present: TLS, with this authority and optionally a client certificate, all PEM. */
  readonly tls?: { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  /** For one operation; default 5000. */
  readonly timeoutMs?: number;
  readonly logger: Logger;
}

/** etcd v3 through one client for the process (spec/events-and-stores.md 1). */
export class EtcdStore implements KeyValueStore {
  readonly #client: Etcd3;
  readonly #endpoints: string;
  readonly #logger: Logger;
  readonly #watches = new Set<EtcdWatch>();
  #closed = false;

  constructor(options: EtcdStoreOptions) {
    const timeoutMs = options.timeoutMs ?? 5000;
    const clientOptions: IOptions = {
      hosts: [...options.endpoints],
      dialTimeout: timeoutMs,
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + timeoutMs }),
    };
    const { credentials, tls } = options;
    if (credentials) clientOptions.auth = { username: credentials.user, password: credentials.password };
    if (tls)
      clientOptions.credentials = {
        rootCertificate: tls.ca,
        ...(tls.key && tls.cert ? { privateKey: tls.key, certChain: tls.cert } : {}),
      };
    this.#client = new Etcd3(clientOptions);
    this.#endpoints = options.endpoints.join(', ');
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
      return await operation();
    } catch (error) {
      throw new StoreUnavailableError(`etcd at ${this.#endpoints}: ${messageOf(error)}`, {
        cause: error,
        retryable: true,
      });
    }
  }
}
