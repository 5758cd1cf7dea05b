import type { FileListing, KernelBackend, KernelHandle } from '../backends/backend.js';
import { RuntimeError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';

/** spec/rpc-functions.md 3.9.3. */
const MAX_DOWNLOAD_BYTES = 1024 * 1024;
/** Longest log text that one reply carries. */
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/**
 * What one agent's callers read from and write to the containers of its kernels. Every method throws KeyError for a
 * kernel that is not here.
 */
export class KernelFiles {
  readonly #registry: KernelRegistry;
  readonly #backend: Pick<KernelBackend, 'files' | 'logs'>;

  constructor(parts: {
    readonly registry: KernelRegistry;
    readonly backend: Pick<KernelBackend, 'files' | 'logs'>;
  }) {
    this.#registry = parts.registry;
    this.#backend = parts.backend;
  }

  async upload(kernelId: KernelId, path: string, data: Uint8Array): Promise<void> {
    await this.#backend.files.upload(this.#container(kernelId), path, data);
  }

  /** A tar archive, at most 1 MiB. */
  async downloadArchive(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#backend.files.downloadArchive(this.#container(kernelId), path, MAX_DOWNLOAD_BYTES);
  }

  async downloadSingle(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#backend.files.downloadSingle(this.#container(kernelId), path, MAX_DOWNLOAD_BYTES);
  }

  async list(kernelId: KernelId, path: string): Promise<FileListing> {
    return this.#backend.files.list(this.#container(kernelId), path);
  }

  /** Empty for a kernel without a container so far. */
  async logs(kernelId: KernelId): Promise<string> {
    const { handle } = this.#registry.get(kernelId);
    if (!handle) return '';
    const bytes = await this.#backend.logs(handle, { maxBytes: MAX_LOG_BYTES });
    return Buffer.from(bytes).toString('utf8');
  }

  /** @throws RuntimeError for a kernel without a container so far. */
  #container(kernelId: KernelId): KernelHandle {
    const { handle } = this.#registry.get(kernelId);
    if (handle) return handle;
    throw new RuntimeError(`kernel ${kernelId} has no container yet: wait until it runs`, {
      retryable: true,
    });
  }
}
