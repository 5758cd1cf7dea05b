import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Engine } from './engine.js';
import type { Container } from './engine-schemas.js';
import { RunnerPackageError } from './errors.js';
import { isActive } from './exit-outcome.js';
import type { KrunnerArchive, RunnerPackage } from './runner-package.js';

/** Of the original, which has programs to unpack archives with (spec/kernel-runner.md 5.4). */
const EXTRACTOR_IMAGE = 'backendai-krunner-extractor:latest';
/** Its value is the volume that the container fills; one that is left over tells how that went. */
const FILL_LABEL = 'ai.backend.splenium.fill';
/** The version comes last. Unlike the original's own script this one fails where a step of it does. */
const UNPACK =
  'tar xJf /root/archive.tar.xz -C /root/volume/ && echo "$KRUNNER_VERSION" > /root/volume/VERSION';
const FILL_LIMIT_MS = 10 * 60_000;
const LOG_BYTES = 4096;

export interface KrunnerVolumesOptions {
  readonly engine: Engine;
  readonly runnerPackage: RunnerPackage;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Volumes of the engine with the Python of the original's runner, each filled once from the archive of an installed
 * package `backend.ai-krunner-*` (spec/kernel-lifecycle.md 2.11). A container that was filling one when its agent
 * ended is waited for; what it has not finished is begun anew, so a volume is whole or not there.
 */
export class KrunnerVolumes {
  readonly #options: KrunnerVolumesOptions;

  constructor(options: KrunnerVolumesOptions) {
    this.#options = options;
  }

  /** Sees to it that the volume is there and filled. @throws RunnerPackageError that says what to do; the engine's error. */
  async provide(distro: string, volume: string): Promise<void> {
    const { engine, logger } = this.#options;
    await this.#settleEarlier(volume);
    if (await engine.volumes.exists(volume)) return;
    const archive = archiveFor(this.#options.runnerPackage, distro, volume);
    await this.#needExtractor();
    logger.info('filling a volume with the runner of the original', { volume, version: archive.version });
    // Its container makes the volume, so that none is there that nobody fills.
    const id = await this.#fillerOf(volume, archive).catch(async (error: unknown) => {
      await engine.volumes.remove(volume);
      throw error;
    });
    await this.#end(volume, await this.#ended(id));
  }

  async #settleEarlier(volume: string): Promise<void> {
    const { containers, volumes } = this.#options.engine;
    for (const { Id } of await containers.list([`${FILL_LABEL}=${volume}`])) {
      const container = await this.#ended(Id);
      if (container === null || isFilled(container)) {
        await containers.remove(Id);
        continue;
      }
      await containers.remove(Id);
      await volumes.remove(volume);
    }
  }

  async #needExtractor(): Promise<void> {
    const { engine, runnerPackage } = this.#options;
    if ((await engine.images.idOf(EXTRACTOR_IMAGE)) !== null) return;
    const { extractorImage } = runnerPackage;
    if (extractorImage === null)
      throw new RunnerPackageError(
        `the runner package ${runnerPackage.directory} lacks the image ${EXTRACTOR_IMAGE}, which unpacks its archives: install backend.ai-kernel-binary of the same release`,
      );
    await engine.images.load(extractorImage);
  }

  async #fillerOf(volume: string, { path, version }: KrunnerArchive): Promise<string> {
    const { containers } = this.#options.engine;
    const id = await containers.create(`splenium.fill.${volume}`, {
      Image: EXTRACTOR_IMAGE,
      Entrypoint: ['/bin/sh', '-c'],
      Cmd: [UNPACK],
      Tty: true,
      Env: [`KRUNNER_VERSION=${version}`],
      Labels: { [FILL_LABEL]: volume },
      HostConfig: {
        Init: true,
        NetworkMode: 'none',
        PidsLimit: 2048,
        Mounts: [
          { Type: 'bind', Source: path, Target: '/root/archive.tar.xz', ReadOnly: true },
          { Type: 'volume', Source: volume, Target: '/root/volume' },
        ],
      },
    });
    try {
      await containers.start(id);
    } catch (error) {
      await containers.remove(id);
      throw error;
    }
    return id;
  }

  /** As it is once it does not run any more; null: it is gone. */
  async #ended(id: string): Promise<Container | null> {
    const { engine, clock } = this.#options;
    const deadline = clock.monotonicMs() + FILL_LIMIT_MS;
    for (let pauseMs = 50; ; pauseMs = Math.min(2 * pauseMs, 1000)) {
      const container = await engine.containers.inspect(id);
      if (container === null || !isActive(container)) return container;
      if (clock.monotonicMs() >= deadline) {
        await engine.containers.kill(id, 'SIGKILL');
        return engine.containers.inspect(id);
      }
      await clock.sleep(pauseMs);
    }
  }

  async #end(volume: string, container: Container | null): Promise<void> {
    const { containers, volumes } = this.#options.engine;
    if (container !== null && isFilled(container)) {
      await containers.remove(container.Id);
      return;
    }
    const said =
      container === null
        ? 'it was removed'
        : Buffer.from(await containers.logs(container.Id, LOG_BYTES)).toString();
    if (container !== null) await containers.remove(container.Id);
    await volumes.remove(volume).catch((error: unknown) => {
      this.#options.logger.warn('cannot remove a volume that is not filled', {
        volume,
        error: messageOf(error),
      });
    });
    throw new RunnerPackageError(`volume ${volume} cannot be filled: ${said.trim()}`);
  }
}

const isFilled = ({ State }: Container): boolean => State.Status === 'exited' && State.ExitCode === 0;

/** Pure. @throws RunnerPackageError that says what to do when there is none of this name. */
export function archiveFor(
  { directory, archives }: Pick<RunnerPackage, 'directory' | 'archives'>,
  distro: string,
  volume: string,
): KrunnerArchive {
  const archive = archives[distro];
  if (archive === undefined)
    throw new RunnerPackageError(
      `there is no volume ${volume} for ${distro}, and no package beside ${directory} to fill it from: install backend.ai-krunner-${distro.startsWith('alpine') ? 'alpine' : distro} (pip install) there, or correct container.krunner-volumes`,
    );
  const [, named] = /^backendai-krunner\.v(\d+)\./.exec(volume) ?? [];
  if (named !== undefined && named !== archive.version)
    throw new RunnerPackageError(
      `there is no volume ${volume}, and the installed package for ${distro} is version ${archive.version}: name it ${volume.replace(`.v${named}.`, `.v${archive.version}.`)} in container.krunner-volumes, which is filled then`,
    );
  return archive;
}
