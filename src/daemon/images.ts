import type { InstalledImages } from '../agent/installed-images.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { EventSink } from '../events/catalogue.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import { RedisInstalledImages } from '../stores/redis-installed-images.js';

/** What the first heartbeat gives a connection that is being opened: without the list a node has no images until the next one. */
const CONNECT_MS = 5000;

interface ImageNewsParts {
  readonly agentId: AgentId;
  readonly installed: InstalledImages;
  readonly events: EventSink;
  /** Null with the local event bus: no manager reads there. */
  readonly redis: RedisConnections | null;
  readonly logger: Logger;
}

/** Tells managers of the node's images on behalf of one agent. */
export class ImageNews {
  readonly #parts: ImageNewsParts;
  readonly #store: RedisInstalledImages | null;
  #hasTold = false;
  readonly #unsubscribe: () => void;
  #isFailing = false;

  /** Announces removals from here on. */
  constructor(parts: ImageNewsParts) {
    const { agentId, installed, events, redis, logger } = parts;
    this.#parts = parts;
    // Opens the connection early; the first heartbeat may still come before it is there.
    redis?.client('image');
    this.#store = redis ? new RedisInstalledImages(() => redis.client('image')) : null;
    this.#unsubscribe = installed.onRemoved((images) => {
      events.publish(agentId, { name: 'agent_installed_images_remove', images }).catch((error: unknown) => {
        logger.warn('removal of images not announced', { agentId, error: messageOf(error) });
      });
    });
  }

  /** With each heartbeat. Never rejects: the next one repeats it. */
  async store(): Promise<void> {
    const { agentId, installed, redis, logger } = this.#parts;
    if (!this.#store) return;
    if (!this.#hasTold) await redis?.whenReady('image', CONNECT_MS);
    const { current } = installed;
    if (current === null) return;
    try {
      await this.#store.store(agentId, current);
      this.#hasTold = true;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing)
        logger.warn('the list of images is not in redis; tried again with the next heartbeat', {
          agentId,
          error: messageOf(error),
        });
      this.#isFailing = true;
    }
  }

  stop(): void {
    this.#unsubscribe();
  }
}
