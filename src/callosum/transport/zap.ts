import { Router } from 'zeromq';
import type { Context } from 'zeromq';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { FaultLog } from '../fault-log.js';
import { ZAP_DOMAIN } from './curve.js';
import type { AcceptedKeys } from './curve.js';
import type { CurveRehearsal } from './curve-rehearsal.js';
import { z85Encode } from './keys.js';
import { receiveLoop } from './transport.js';

const ENDPOINT = 'inproc://zeromq.zap.01';
const VERSION = '1.0';
const USER_ID = 'manager';

export interface ZapVerdict {
  readonly status: '200' | '400' | '500';
  readonly text: string;
  readonly userId: string;
}

const refusal = (text: string): ZapVerdict => ({ status: '400', text, userId: '' });

/**
 * Decides one ZAP request, given without its envelope; the table of spec/wire-protocol.md 1.7, in its order.
 * Undefined: the request has no id that a reply could carry.
 */
export function decideZap(frames: readonly Uint8Array[], acceptedKeys: AcceptedKeys): ZapVerdict | undefined {
  const [version, , domain, , , mechanism, ...credentials] = frames;
  if (frames.length < 2) return undefined;
  if (!mechanism) return refusal('Not enough frames');
  if (textOf(version) !== VERSION) return refusal('Invalid version');
  if (textOf(mechanism) !== 'CURVE') return refusal('Unsupported authentication mechanism');
  const [key] = credentials;
  if (!key || credentials.length !== 1) return refusal('Invalid credentials');
  try {
    if (key.length !== 32 || textOf(domain) !== ZAP_DOMAIN || !acceptedKeys.has(z85Encode(key)))
      return refusal('Access denied');
  } catch {
    return { status: '500', text: 'Internal error', userId: '' };
  }
  return { status: '200', text: 'OK', userId: USER_ID };
}

function textOf(frame: Uint8Array | undefined): string {
  return frame === undefined ? '' : Buffer.from(frame).toString('latin1');
}

/** The client's, in Z85; empty when the request has none. */
function keyOf([, , , , , , key]: readonly Uint8Array[]): string {
  return key?.length === 32 ? z85Encode(key) : '';
}

export interface ZapHandlerOptions {
  readonly context: Context;
  readonly acceptedKeys: AcceptedKeys;
  readonly logger: Logger;
  readonly faults: FaultLog;
  readonly rehearsal: CurveRehearsal | undefined;
  /** A client was turned away; the address is an IP without a port. */
  readonly onRefused: (address: string) => void;
}

/**
 * Answers libzmq's authentication requests within one context. It has to be bound before the CURVE server socket:
 * libzmq accepts every key while nobody listens here.
 */
export class ZapHandler {
  readonly #socket: Router;
  readonly #options: ZapHandlerOptions;

  private constructor(socket: Router, options: ZapHandlerOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  static async bind(options: ZapHandlerOptions): Promise<ZapHandler> {
    // A ROUTER, not a REP: a request without an answer must not block the next one.
    const socket = new Router({ context: options.context, linger: 0 });
    await socket.bind(ENDPOINT);
    const handler = new ZapHandler(socket, options);
    void receiveLoop(socket, (frames) => handler.#answer(frames), options.logger);
    return handler;
  }

  close(): void {
    this.#socket.close();
  }

  async #answer(frames: readonly Uint8Array[]): Promise<void> {
    const delimiter = frames.findIndex((frame) => frame.length === 0);
    const request = frames.slice(delimiter + 1);
    const verdict = decideZap(request, this.#options.acceptedKeys);
    if (!verdict) return;
    if (verdict.status !== '200') {
      const address = textOf(request[3]);
      const { rehearsal, logger, faults, onRefused } = this.#options;
      if (rehearsal?.refuses(keyOf(request)) === true)
        logger.debug('a stranger of the self-test was refused');
      else {
        faults.warn('a client was refused', verdict.text, { address });
        onRefused(address);
      }
    }
    try {
      await this.#socket.send([
        ...frames.slice(0, delimiter + 1),
        VERSION,
        request[1] ?? '',
        verdict.status,
        verdict.text,
        verdict.userId,
        '',
      ]);
    } catch (error) {
      this.#options.logger.error('an authentication request could not be answered', {
        error: messageOf(error),
      });
    }
  }
}
