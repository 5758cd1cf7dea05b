import type { Redis } from 'ioredis';

/** One entry of the list, as managers read it. */
export interface StoredImage {
  readonly canonical: string;
  readonly digest: string;
  readonly architecture: string;
}

/**
 * What images a node has, in Redis, where the manager looks when it handles a heartbeat (spec/events-and-stores.md
 * 4.6). Asks for its client at each write, so that a connection that was replaced is used at once.
 */
export class RedisInstalledImages {
  readonly #client: () => Redis;

  constructor(client: () => Redis) {
    this.#client = client;
  }

  /**
   * An empty list is not written; what an earlier one has left goes, or the manager would take those images for
   * present with each heartbeat again.
   */
  async store(agentId: string, images: readonly StoredImage[]): Promise<void> {
    const key = `installed_image:${agentId}`;
    if (images.length === 0) await this.#client().del(key);
    else
      await this.#client().set(
        key,
        JSON.stringify(
          images.map(({ canonical, digest, architecture }) => ({ canonical, digest, architecture })),
        ),
      );
  }
}
