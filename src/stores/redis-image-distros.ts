import type { Redis } from 'ioredis';

const LIFETIME_SEC = 86_400;

/**
 * What images are based on, in Redis, where nodes look before they try it out (spec/kernel-lifecycle.md 2.3). Asks for
 * its client at each use, so that a connection that was replaced is used at once.
 */
export class RedisImageDistros {
  readonly #client: () => Redis;

  constructor(client: () => Redis) {
    this.#client = client;
  }

  /** By the image's digest without its algorithm; null when nobody knows. What is asked for is kept for another day. */
  async read(digest: string): Promise<string | null> {
    const client = this.#client();
    const distro = await client.get(keyOf(digest));
    if (!distro) return null;
    await client.expire(keyOf(digest), LIFETIME_SEC);
    return distro;
  }

  async write(digest: string, distro: string): Promise<void> {
    await this.#client().set(keyOf(digest), distro, 'EX', LIFETIME_SEC);
  }
}

const keyOf = (digest: string): string => `image:${digest}:distro`;
