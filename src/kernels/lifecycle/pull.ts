import type { ImageRequest } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { isSpleniumError } from '../../core/errors.js';
import { ImageArchitectureMismatchError, ImageNotAvailableError, ImagePullTimeoutError } from '../errors.js';
import type { KernelCreationRequest } from '../requests.js';
import type { LifecycleParts } from './parts.js';

const ALIASES: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  x64: 'x86_64',
  arm64: 'aarch64',
  x32: 'x86',
  i686: 'x86',
};

/** @throws ImageArchitectureMismatchError (spec/kernel-lifecycle.md 2.5) */
export function checkArchitecture(imageArchitecture: string, machineArchitecture: string): void {
  const image = normalise(imageArchitecture);
  const machine = normalise(machineArchitecture);
  if (image !== machine)
    throw new ImageArchitectureMismatchError(`cannot run ${image} image on ${machine} machine`);
}

/**
 * Makes sure that the image is there (spec/kernel-lifecycle.md 2.6). `onPull` runs before a pull begins.
 * @throws ImageNotAvailableError, ImagePullTimeoutError, or whatever the pull failed with.
 */
export async function ensureImage(
  parts: Pick<LifecycleParts, 'backend' | 'settings'>,
  request: KernelCreationRequest,
  signal: AbortSignal,
  onPull: (canonical: string) => Promise<void>,
): Promise<void> {
  const { images } = parts.backend;
  const image: ImageRequest = { ...request.config.image, isLocal: request.imageRef.isLocal };
  if (image.isLocal) return;
  if (await within(images.isAvailable(image), { signal, what: `looking for image ${image.canonical}` }))
    return;
  if (image.autoPull === 'none')
    throw new ImageNotAvailableError(
      `image ${image.canonical} is not on this machine and its pull policy is 'none': pull it first`,
    );
  await onPull(image.canonical);
  const { pullTimeoutMs } = parts.settings;
  const limit = new AbortController();
  try {
    // The backend joins pulls of one image, so leaving this one early takes nothing from another kernel.
    await within(images.pull(image, AbortSignal.any([signal, limit.signal])), {
      signal,
      timeoutMs: pullTimeoutMs ?? undefined,
      what: `pulling image ${image.canonical}`,
    });
  } catch (error) {
    if (pullTimeoutMs !== null && !signal.aborted && isSpleniumError(error, 'TIMEOUT'))
      throw new ImagePullTimeoutError(
        `Image pull timeout after ${String(pullTimeoutMs / 1000)} seconds. (img:${image.canonical})`,
        { cause: error, retryable: true },
      );
    throw error;
  } finally {
    limit.abort();
  }
}

function normalise(architecture: string): string {
  const name = architecture.toLowerCase();
  return ALIASES[name] ?? name;
}
