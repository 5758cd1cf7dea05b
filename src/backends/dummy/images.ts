import { createHash } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import { CancelledError } from '../../core/errors.js';
import type {
  BackendImages,
  ImageRequest,
  ImageUpload,
  InstalledImage,
  TransferListener,
} from '../backend.js';
import { JoinedPulls } from '../images/joined-pulls.js';
import { DummyImageInUseError, DummyImageMissingError } from './errors.js';
import { cancellableSleep } from './cancellable-sleep.js';
import type { DummySettings, FailurePlan } from './settings.js';

/** An archive without entries. */
const EMPTY_ARCHIVE_BYTES = 1024;
/** Nothing runs it. */
const COMMAND = ['serve'];

/**
 * Images that are only names. Those of `missing` are not there and cannot be pulled; those of `pullable` are there
 * once they were; all others are there. (The original asks for a pull of just those that it says it has.)
 */
export class DummyImages implements BackendImages {
  readonly #settings: DummySettings;
  readonly #failures: FailurePlan;
  readonly #isInUse: (name: string) => boolean;
  readonly #clock: Clock;
  readonly #joined = new JoinedPulls((image, signal, onProgress) => this.#pullOne(image, signal, onProgress));
  readonly #pulled = new Set<string>();
  readonly #removed = new Set<string>();

  constructor(parts: {
    readonly settings: DummySettings;
    readonly failures: FailurePlan;
    readonly isInUse: (name: string) => boolean;
    readonly clock: Clock;
  }) {
    this.#settings = parts.settings;
    this.#failures = parts.failures;
    this.#isInUse = parts.isInUse;
    this.#clock = parts.clock;
  }

  isAvailable({ canonical, isLocal }: ImageRequest): Promise<boolean> {
    return Promise.resolve(isLocal || this.#isThere(canonical));
  }

  /** Pulls of one image at one time are one. @throws DummyImageMissingError, DummyFailureError, CancelledError */
  pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    return this.#joined.pull(image, signal, onProgress);
  }

  /** @throws DummyImageMissingError, DummyFailureError */
  async push({ canonical }: ImageUpload, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    this.#require(canonical);
    await this.#transfer('push-image', `pushing image ${canonical}`, signal, onProgress);
    this.#failures.check('push', canonical);
  }

  /** None: an agent of the original's dummy backend announces none either. */
  async list(): Promise<readonly InstalledImage[]> {
    await this.#clock.sleep(this.#settings.delaysMs['scan-image']);
    return [];
  }

  /** One, for models that are served by the command of their image. */
  command(): Promise<readonly string[]> {
    return Promise.resolve(COMMAND);
  }

  /** @throws DummyImageMissingError, DummyImageInUseError */
  async remove(name: string, { force }: { readonly force: boolean }): Promise<void> {
    this.#require(name);
    if (!force && this.#isInUse(name))
      throw new DummyImageInUseError(`a kernel is made of image ${name}: end it first, or force the removal`);
    await this.#clock.sleep(this.#settings.delaysMs['purge-images']);
    this.#pulled.delete(name);
    this.#removed.add(name);
  }

  /** An empty archive. @throws DummyImageMissingError */
  async export(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    this.#require(id);
    return Promise.resolve(
      (async function* () {
        await Promise.resolve();
        if (signal.aborted) throw new CancelledError(`export of image ${id}: cancelled`);
        yield new Uint8Array(EMPTY_ARCHIVE_BYTES);
      })(),
    );
  }

  /** Makes one that is there from now on. @returns its id. */
  add(canonical: string | null, content: string): string {
    const id = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    for (const name of [id, ...(canonical === null ? [] : [canonical])]) {
      this.#removed.delete(name);
      this.#pulled.add(name);
    }
    return id;
  }

  #isThere(name: string): boolean {
    const { present, pullable, missing } = this.#settings.images;
    if (this.#removed.has(name)) return false;
    if (this.#pulled.has(name) || present.includes(name)) return true;
    return !pullable.includes(name) && !missing.includes(name);
  }

  #require(name: string): void {
    if (!this.#isThere(name)) throw new DummyImageMissingError(`image ${name} is not here: pull it first`);
  }

  async #pullOne(
    { canonical }: ImageRequest,
    signal: AbortSignal,
    onProgress: TransferListener,
  ): Promise<void> {
    await this.#transfer('pull-image', `pulling image ${canonical}`, signal, onProgress);
    this.#failures.check('pull', canonical);
    if (this.#settings.images.missing.includes(canonical))
      throw new DummyImageMissingError(`image ${canonical} is in no registry: agent.dummy.toml says so`);
    this.#removed.delete(canonical);
    this.#pulled.add(canonical);
  }

  async #transfer(
    delay: 'pull-image' | 'push-image',
    what: string,
    signal: AbortSignal,
    onProgress: TransferListener | undefined,
  ): Promise<void> {
    onProgress?.({ current: 0, total: 1, message: what });
    await cancellableSleep(this.#clock, this.#settings.delaysMs[delay], signal, what);
    onProgress?.({ current: 1, total: 1, message: what });
  }
}
