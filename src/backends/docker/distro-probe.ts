import type { Clock } from '../../core/clock.js';
import { isSpleniumError, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { distroOfLdd, UnsupportedBaseDistroError } from './base-distro.js';
import type { Engine } from './engine.js';
import { ImageMissingError } from './errors.js';
import { isActive } from './exit-outcome.js';

const DISTRO_LABEL = 'ai.backend.base-distro';
/** When the probe began, in ms since the epoch: what a crash has left is told from what runs. */
const PROBE_LABEL = 'ai.backend.splenium.probe';
const PROBE_LIMIT_MS = 30_000;
const LEFTOVER_AFTER_MS = 10 * 60_000;
const LOG_BYTES = 16_384;

/** What nodes have found out about images, by the image's digest without its algorithm. */
export interface DistroCache {
  read(digest: string): Promise<string | null>;
  write(digest: string, distro: string): Promise<void>;
}

export interface DistroProbeOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Shared with other nodes; absent: what is found out is known to this process only. */
  readonly cache?: DistroCache;
}

/**
 * What an image is based on (spec/kernel-lifecycle.md 2.3): its label, else what was found out before, else what its
 * own `ldd` says in a container for nothing else. Only the original's runner comes in kinds, so nobody asks otherwise.
 */
export class DistroProbe {
  readonly #options: DistroProbeOptions;
  readonly #known = new Map<string, Promise<string>>();

  constructor(options: DistroProbeOptions) {
    this.#options = options;
  }

  /** The image must be here. @throws ImageMissingError, UnsupportedBaseDistroError, EngineError */
  async distroOf(image: string): Promise<string> {
    const { engine } = this.#options;
    const details = await engine.images.inspect(image);
    const id = await engine.images.idOf(image);
    if (details === null || id === null)
      throw new ImageMissingError(`image ${image} is not on this machine: pull it first`);
    const label = details.Config?.Labels?.[DISTRO_LABEL] ?? '';
    if (label !== '') return label;
    const digest = id.replace(/^[a-z0-9]+:/, '');
    let known = this.#known.get(digest);
    if (known === undefined) {
      known = this.#find(image, digest);
      this.#known.set(digest, known);
      known.catch(() => this.#known.delete(digest));
    }
    return known;
  }

  async #find(image: string, digest: string): Promise<string> {
    const { cache } = this.#options;
    const cached = await this.#attempt('cannot read what is known of an image', () => cache?.read(digest));
    if (cached) return cached;
    const distro = await this.#probe(image);
    await this.#attempt('cannot note what an image is based on', () => cache?.write(digest, distro));
    return distro;
  }

  async #probe(image: string): Promise<string> {
    const { engine, clock } = this.#options;
    await this.#attempt('cannot remove old probes', () => this.#removeLeftovers());
    const startedAtMs = clock.nowMs();
    const id = await engine.containers.create(
      `splenium.probe.${String(startedAtMs)}.${String(process.hrtime.bigint())}`,
      {
        Image: image,
        Tty: true,
        Entrypoint: [''],
        Cmd: ['ldd', '--version'],
        Labels: { [PROBE_LABEL]: String(startedAtMs) },
        HostConfig: { Init: true, NetworkMode: 'none' },
      },
    );
    try {
      await engine.containers.start(id).catch((error: unknown) => {
        if (isSpleniumError(error, 'BACKEND_ENGINE_FAILED')) throw unknown(image, messageOf(error), error);
        throw error;
      });
      const deadline = clock.monotonicMs() + PROBE_LIMIT_MS;
      for (let pauseMs = 20; ; pauseMs = Math.min(2 * pauseMs, 500)) {
        const container = await engine.containers.inspect(id);
        if (container === null || !isActive(container)) break;
        if (clock.monotonicMs() > deadline) throw unknown(image, 'ldd does not end');
        await clock.sleep(pauseMs);
      }
      const text = Buffer.from(await engine.containers.logs(id, LOG_BYTES)).toString();
      const distro = distroOfLdd(text);
      if (distro === null) throw unknown(image, `ldd says ${JSON.stringify(text.slice(0, 200))}`);
      return distro;
    } finally {
      await this.#attempt('cannot remove the probe of an image', () => engine.containers.remove(id));
    }
  }

  async #removeLeftovers(): Promise<void> {
    const { engine, clock } = this.#options;
    for (const { Id, Labels } of await engine.containers.list([PROBE_LABEL]))
      if (clock.nowMs() - Number(Labels[PROBE_LABEL]) > LEFTOVER_AFTER_MS) await engine.containers.remove(Id);
  }

  async #attempt<T>(failure: string, act: () => Promise<T> | undefined): Promise<T | undefined> {
    try {
      return await act();
    } catch (error) {
      this.#options.logger.warn(failure, { error: messageOf(error) });
      return undefined;
    }
  }
}

const unknown = (image: string, why: string, cause?: unknown) =>
  new UnsupportedBaseDistroError(
    `cannot tell what image ${image} is based on (${why}): give it the label ${DISTRO_LABEL}`,
    { cause },
  );
