import type { ChainableCommander, Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

/** How long a report outlives its refresh (spec/events-and-stores.md 5.8). */
const LIFETIME_SEC = 300;

/**
 * What 26.x managers are told of kernels that run, and what they leave behind when they look
 * (spec/events-and-stores.md 5.8). Times are whole seconds of the server's clock. Every method rejects when Redis
 * does not answer.
 */
export class RedisKernelPresence {
  readonly #client: () => Redis;

  /** A client of the `live` role; asked for each use, so that a connection that was replaced is used at once. */
  constructor(client: () => Redis) {
    this.#client = client;
  }

  async report(kernelIds: readonly string[]): Promise<void> {
    if (kernelIds.length === 0) return;
    const client = this.#client();
    // Of the server, because the manager compares it with what it writes itself.
    const [seconds] = await client.time();
    let pipeline = client.pipeline();
    for (const kernelId of kernelIds)
      pipeline = pipeline
        .hset(keyOf(kernelId), 'presence', '1', 'last_presence', String(seconds))
        .expire(keyOf(kernelId), LIFETIME_SEC);
    await resultsOf(pipeline);
  }

  /** When a manager last looked after this agent; null when none has, or what is there is no time. */
  async agentLastCheckSec(agentId: string): Promise<number | null> {
    return parseSeconds(await this.#client().get(`agent:last_check:${agentId}`));
  }

  /**
   * When a manager last looked after each kernel. Left out: kernels without a record, without a report of their own in
   * it, or never looked after.
   */
  async lastChecksSec(kernelIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (kernelIds.length === 0) return new Map();
    let pipeline = this.#client().pipeline();
    for (const kernelId of kernelIds) pipeline = pipeline.hmget(keyOf(kernelId), 'presence', 'last_check');
    const results = await resultsOf(pipeline);
    return new Map(
      kernelIds.flatMap((kernelId, index) => {
        const fields = results[index];
        if (!Array.isArray(fields)) return [];
        const [presence, lastCheck] = fields as readonly unknown[];
        const seconds = parseSeconds(lastCheck);
        return typeof presence !== 'string' || seconds === null ? [] : [[kernelId, seconds] as const];
      }),
    );
  }
}

const keyOf = (kernelId: string): string => `kernel:presence:${kernelId}`;

const parseSeconds = (text: unknown): number | null =>
  typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : null;

async function resultsOf(pipeline: ChainableCommander): Promise<readonly unknown[]> {
  const results = await pipeline.exec();
  const failed = results?.find(([error]) => error !== null);
  if (!results || failed)
    throw new StoreUnavailableError(
      `redis did not take the presence of kernels: ${failed?.[0]?.message ?? 'no result'}`,
    );
  return results.map(([, value]) => value);
}
