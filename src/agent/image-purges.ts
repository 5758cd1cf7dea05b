import type { BackendImages } from '../backends/backend.js';
import { mapBounded } from '../core/async.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { ImagePurgeOutcome } from './agent.js';

/** More than a person asks for in one call; beyond it an engine only queues. */
const AT_ONCE = 32;

/** Deletes images side by side; what keeps one from going is its outcome (spec/rpc-functions.md 3.4). */
export function purgeImages(
  parts: { readonly images: BackendImages; readonly logger: Logger },
  canonicals: readonly string[],
  options: { readonly force: boolean; readonly noprune: boolean },
): Promise<readonly ImagePurgeOutcome[]> {
  const { force, noprune } = options;
  return mapBounded(canonicals, AT_ONCE, async (image) => {
    try {
      await parts.images.remove(image, { force, isPruningParents: !noprune });
      return { image, error: null };
    } catch (error) {
      parts.logger.warn('image not purged', { image, error: messageOf(error) });
      return { image, error: messageOf(error) };
    }
  });
}
