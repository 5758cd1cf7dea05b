import { Pull, Push } from 'zeromq';
import type { Logger } from '../core/logger.js';
import { LimitExceededError, messageOf } from '../core/errors.js';
import { parseFrames } from '../kernel-runner/messages.js';
import type { RunnerMessage } from '../kernel-runner/messages.js';
import type { RunnerLinkLimits } from './limits.js';

export interface RunnerSocketsOptions {
  readonly replIn: string;
  readonly replOut: string;
  readonly limits: RunnerLinkLimits;
  readonly logger: Logger;
  readonly onMessage: (message: RunnerMessage) => void;
}

const LINGER_MS = 50;
const PAUSE_AFTER_ERROR_MS = 100;
/** The runner may bind much later than we connect; look often at first, then less. */
const RECONNECT = { reconnectInterval: 20, reconnectMaxInterval: 500 };
/** Keeps the address translation between us and a container alive. */
const KEEPALIVE = { tcpKeepalive: 1, tcpKeepaliveIdle: 60, tcpKeepaliveInterval: 30 };

/** The agent's two sockets to one runner: one receive loop, one writer. */
export class RunnerSockets {
  readonly #push: Push;
  readonly #pull: Pull;
  readonly #options: RunnerSocketsOptions;
  readonly #queue: RunnerMessage[] = [];
  #writing = false;
  #closed = false;

  /** Connects, which succeeds before the runner is there. @throws the socket's error for a malformed endpoint. */
  constructor(options: RunnerSocketsOptions) {
    this.#options = options;
    this.#push = new Push({ linger: LINGER_MS, ...RECONNECT, ...KEEPALIVE });
    this.#pull = new Pull({
      linger: 0,
      maxMessageSize: options.limits.maxMessageBytes,
      ...RECONNECT,
      ...KEEPALIVE,
    });
    try {
      this.#push.connect(options.replIn);
      this.#pull.connect(options.replOut);
    } catch (error) {
      this.close();
      throw error;
    }
    void this.#receive();
  }

  /** @throws LimitExceededError for a request that is too large, or when too many wait. */
  send(message: RunnerMessage): void {
    const { maxRequestBytes, maxQueuedRequests } = this.#options.limits;
    if (message.payload.length > maxRequestBytes)
      throw new LimitExceededError(
        `a ${message.type} request of ${String(message.payload.length)} bytes is larger than ${String(maxRequestBytes)}`,
      );
    if (this.#queue.length >= maxQueuedRequests)
      throw new LimitExceededError(
        `${String(maxQueuedRequests)} requests wait for the kernel runner, which does not read them`,
        { retryable: true },
      );
    this.#queue.push(message);
    if (!this.#writing) void this.#write();
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#push.close();
    this.#pull.close();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      try {
        await this.#push.send([next.type, next.payload]);
      } catch (error) {
        if (!this.#isClosed())
          this.#options.logger.error('a request to the kernel runner was lost', {
            type: next.type,
            error: messageOf(error),
          });
      }
    }
    this.#writing = false;
  }

  /** Neither a bad message nor an error of the socket ends the loop. */
  async #receive(): Promise<void> {
    const { logger, onMessage } = this.#options;
    while (!this.#closed) {
      let frames: readonly Uint8Array[];
      try {
        frames = await this.#pull.receive();
      } catch (error) {
        if (this.#isClosed()) return;
        logger.error('receiving from the kernel runner failed', { error: messageOf(error) });
        await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_ERROR_MS));
        continue;
      }
      const message = parseFrames(frames);
      if (!message) {
        logger.warn('a malformed message of the kernel runner was dropped', { frames: frames.length });
        continue;
      }
      try {
        onMessage(message);
      } catch (error) {
        logger.error('a message of the kernel runner could not be handled', {
          type: message.type,
          error: messageOf(error),
        });
      }
    }
  }

  /** Asked through a method because it changes while the loop waits. */
  #isClosed(): boolean {
    return this.#closed;
  }
}
