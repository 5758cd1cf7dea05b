import type { Redis } from 'ioredis';

const LIFETIME_SEC = 86_400;

/** How many containers an agent has, for managers that limit it (spec/events-and-stores.md 5.7). */
export class RedisContainerCount {
  readonly #client: () => Redis;

  constructor(client: () => Redis) {
    this.#client = client;
  }

  /** @throws when Redis is away. */
  async put(agentId: string, count: number): Promise<void> {
    await this.#client().set(`container_count.${agentId}`, String(count), 'EX', LIFETIME_SEC);
  }
}
