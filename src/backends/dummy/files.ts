import type { Clock } from '../../core/clock.js';
import { PermissionError } from '../../core/errors.js';
import type { BackendFiles, FileListing, KernelHandle } from '../backend.js';
import { DOWNLOAD_REFUSAL, LIST_REFUSAL, staysInside, UPLOAD_REFUSAL } from '../files/refusals.js';
import type { DummySettings } from './settings.js';

/** Takes every file and has none (spec/kernel-lifecycle.md 8). Paths that lead outside are refused all the same. */
export class DummyFiles implements BackendFiles {
  readonly #delaysMs: DummySettings['delaysMs'];
  readonly #clock: Clock;

  constructor(parts: { readonly delaysMs: DummySettings['delaysMs']; readonly clock: Clock }) {
    this.#delaysMs = parts.delaysMs;
    this.#clock = parts.clock;
  }

  /** @throws PermissionError, as of the other backends also for an absolute path. */
  async upload(_: KernelHandle, path: string): Promise<void> {
    if (path.startsWith('/') || !staysInside(path)) throw new PermissionError(UPLOAD_REFUSAL);
    await this.#clock.sleep(this.#delaysMs['accept-file']);
  }

  /** @throws PermissionError */
  async downloadArchive(_: KernelHandle, path: string): Promise<Uint8Array> {
    if (!staysInside(path)) throw new PermissionError(DOWNLOAD_REFUSAL);
    await this.#clock.sleep(this.#delaysMs['download-file']);
    return new Uint8Array();
  }

  /** @throws PermissionError */
  async downloadSingle(_: KernelHandle, path: string): Promise<Uint8Array> {
    if (!staysInside(path)) throw new PermissionError(DOWNLOAD_REFUSAL);
    await this.#clock.sleep(this.#delaysMs['download-single']);
    return new Uint8Array();
  }

  /** @throws PermissionError */
  async list(_: KernelHandle, path: string): Promise<FileListing> {
    if (!staysInside(path)) throw new PermissionError(LIST_REFUSAL);
    await this.#clock.sleep(this.#delaysMs['list-files']);
    return { entries: [], errors: '' };
  }
}
