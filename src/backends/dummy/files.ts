import type { Clock } from '../../core/clock.js';
import type { BackendFiles, FileListing } from '../backend.js';
import type { DummySettings } from './settings.js';

/** Takes every file and has none (spec/kernel-lifecycle.md 8). */
export class DummyFiles implements BackendFiles {
  readonly #delaysMs: DummySettings['delaysMs'];
  readonly #clock: Clock;

  constructor(parts: { readonly delaysMs: DummySettings['delaysMs']; readonly clock: Clock }) {
    this.#delaysMs = parts.delaysMs;
    this.#clock = parts.clock;
  }

  async upload(): Promise<void> {
    await this.#clock.sleep(this.#delaysMs['accept-file']);
  }

  async downloadArchive(): Promise<Uint8Array> {
    await this.#clock.sleep(this.#delaysMs['download-file']);
    return new Uint8Array();
  }

  async downloadSingle(): Promise<Uint8Array> {
    await this.#clock.sleep(this.#delaysMs['download-single']);
    return new Uint8Array();
  }

  async list(): Promise<FileListing> {
    await this.#clock.sleep(this.#delaysMs['list-files']);
    return { entries: [], errors: '' };
  }
}
