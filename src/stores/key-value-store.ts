/**
 * Where a node registers and finds shared settings: etcd in production, a file on a machine that stands alone.
 * Keys and values are text. One suite, `tests/contract/key-value-store.contract.ts`, runs against both.
 */
export interface KeyValueStore {
  /** Null when there is no such key; an empty text is a value. @throws StoreUnavailableError */
  get(key: string): Promise<string | null>;
  /** All pairs whose key starts with the prefix, ordered by the bytes of their keys. @throws StoreUnavailableError */
  list(prefix: string): Promise<readonly KeyValue[]>;
  /**
   * All changes or none. No two of them may concern one key (etcd refuses that).
   * @throws StoreUnavailableError
   */
  write(changes: readonly KeyChange[]): Promise<void>;
  /**
   * Reports each later change below the prefix, in order, across interruptions of the connection. A listener's
   * failure is its own.
   */
  watch(prefix: string, listener: (event: KeyEvent) => void): Promise<KeyWatch>;
  /** Ends watches and lets go of connections or files. Idempotent. */
  close(): Promise<void>;
}

export type KeyValue = readonly [key: string, value: string];

export type KeyChange =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string }
  | { readonly type: 'delete-prefix'; readonly prefix: string };

export type KeyEvent =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string };

export interface KeyWatch {
  /** No event is reported afterwards. Idempotent. */
  close(): Promise<void>;
}
