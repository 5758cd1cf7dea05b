import { Peer } from '../callosum/index.js';
import type { CurveServerCredentials, PeerLimits } from '../callosum/index.js';
import { createCodec } from '../codec/index.js';
import type { CodecLimits } from '../codec/index.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { Dispatcher } from './dispatcher.js';

export interface AgentRPCServerOptions {
  /** ZeroMQ endpoint; port 0 or `*` lets the system choose. */
  readonly address: string;
  readonly dispatcher: Dispatcher;
  /** Absent: no authentication and no encryption. Whether the address permits that is the caller's policy. */
  readonly curve?: CurveServerCredentials;
  readonly limits?: Partial<PeerLimits>;
  readonly codecLimits?: Partial<CodecLimits>;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

/**
 * The RPC socket of a node: one Callosum peer in front of a dispatcher. Several servers may share a dispatcher, as
 * they do while keys rotate.
 */
export class AgentRPCServer {
  readonly #peer: Peer;
  readonly #logger: Logger;

  private constructor(peer: Peer, logger: Logger) {
    this.#peer = peer;
    this.#logger = logger;
  }

  /** @throws the socket's error, such as `EADDRINUSE`, when the address cannot be bound. */
  static async open(options: AgentRPCServerOptions): Promise<AgentRPCServer> {
    const { address, dispatcher, curve, limits, codecLimits, metrics, logger = silentLogger } = options;
    const { defaultMs, byMethodMs } = dispatcher.deadlines;
    const peer = await Peer.bind({
      address,
      handler: (call) => dispatcher.handle(call),
      describeError: dispatcher.describeError,
      serializer: createCodec({
        dialect: dispatcher.managerVersion === '25.17' ? '25.17' : '26.8',
        ...(codecLimits && { limits: codecLimits }),
      }),
      deadlines: { ...(defaultMs !== null && { defaultMs }), methods: byMethodMs },
      logger,
      ...(curve && { curve }),
      ...(limits && { limits }),
      ...(metrics && { metrics }),
    });
    logger.info('the RPC socket is open', { endpoint: peer.endpoint, curve: curve !== undefined });
    return new AgentRPCServer(peer, logger);
  }

  /** With the port the system chose. */
  get endpoint(): string {
    return this.#peer.endpoint;
  }

  /** Calls received and not yet answered. */
  get inFlight(): number {
    return this.#peer.inFlight;
  }

  /**
   * Refuses new calls with a reply, lets running ones finish for `drainMs`, cancels and answers the rest, and closes
   * once the replies are out. Idempotent.
   */
  async close(options: { readonly drainMs: number }): Promise<void> {
    await this.#peer.close(options);
    this.#logger.info('the RPC socket is closed');
  }
}
