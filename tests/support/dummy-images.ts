import type { BackendImages, ImageRequest, ImageUpload, KernelBackend } from '../../src/backends/backend.js';
import type { Clock } from '../../src/core/clock.js';
import type { ImagesHarness, Transfer } from '../contract/backend-images.contract.js';
import { DummyBackendHarness, QUICK_SETTINGS } from './dummy-backend.js';
import { eventually } from './eventually.js';
import { ManualClock } from './manual-clock.js';

const TRANSFER_MS = 1000;

/** What takes time takes none, unless the clock is held. */
class HeldClock extends ManualClock implements Clock {
  isHeld = false;
  /** How often somebody has waited. */
  asked = 0;

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    this.asked += 1;
    return this.isHeld ? super.sleep(ms, signal) : Promise.resolve();
  }
}

/** Images that are names, with the delays and failures of `agent.dummy.toml` in the place of a registry. */
export class DummyImagesHarness implements ImagesHarness {
  readonly areReal = false;
  readonly image = imageOf('registry.example/dummy/pullable:1');
  readonly missing = imageOf('registry.example/dummy/missing:1');
  readonly images: BackendImages;
  readonly backend: KernelBackend;
  readonly #backends: DummyBackendHarness;
  readonly #clock: HeldClock;
  readonly #broken: Set<Transfer>;

  private constructor(parts: {
    readonly backends: DummyBackendHarness;
    readonly backend: KernelBackend;
    readonly clock: HeldClock;
    readonly broken: Set<Transfer>;
  }) {
    this.#backends = parts.backends;
    this.backend = parts.backend;
    this.#clock = parts.clock;
    this.#broken = parts.broken;
    this.images = parts.backend.images;
  }

  static async make(): Promise<DummyImagesHarness> {
    const clock = new HeldClock();
    const broken = new Set<Transfer>();
    const { delaysMs, failures } = QUICK_SETTINGS;
    const backends = await DummyBackendHarness.make({
      clock,
      settings: {
        ...QUICK_SETTINGS,
        delaysMs: { ...delaysMs, 'pull-image': TRANSFER_MS, 'push-image': TRANSFER_MS },
        images: {
          present: [],
          pullable: ['registry.example/dummy/pullable:1'],
          missing: ['registry.example/dummy/missing:1'],
        },
        failures: { ...failures, pull: 0.5, push: 0.5 },
      },
      random: () => (broken.size > 0 ? 0 : 0.9),
    });
    return new DummyImagesHarness({ backends, backend: await backends.open(), clock, broken });
  }

  hold(): { readonly entered: () => Promise<void>; readonly release: () => void } {
    const before = this.#clock.asked;
    this.#clock.isHeld = true;
    return {
      entered: () =>
        eventually(() => {
          expect(this.#clock.asked).toBeGreaterThan(before);
        }),
      release: () => {
        this.#clock.isHeld = false;
        this.#clock.advance(TRANSFER_MS);
      },
    };
  }

  break(transfer: Transfer): void {
    this.#broken.add(transfer);
  }

  mend(): void {
    this.#broken.clear();
  }

  requests(): number {
    return this.#clock.asked;
  }

  upload(): Promise<ImageUpload> {
    return Promise.resolve({ canonical: this.image.canonical, registry: null });
  }

  async use(): Promise<void> {
    const plan = await this.#backends.plan();
    const never = new AbortController().signal;
    await this.backend.create({ ...plan, imageCanonical: this.image.canonical }, never);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#backends[Symbol.asyncDispose]();
  }
}

const imageOf = (canonical: string): ImageRequest => ({
  canonical,
  digest: '',
  architecture: 'x86_64',
  isLocal: false,
  autoPull: 'tag',
  registry: null,
});
