import { Context } from 'zeromq';
import type { Socket } from 'zeromq';
import { deferred, within } from '../../core/async.js';
import type { Logger } from '../../core/logger.js';
import type { FaultLog } from '../fault-log.js';
import type { Connections } from './connections.js';
import { checkKeys, ZAP_DOMAIN } from './curve.js';
import type { CurveServerCredentials } from './curve.js';
import type { HandshakeFailure } from './handshake-failure.js';
import { Refusals } from './refusals.js';
import { watchEvents } from './socket-events.js';
import { ZapHandler } from './zap.js';

export interface BoundSocketOptions {
  readonly address: string;
  readonly curve: CurveServerCredentials | undefined;
  readonly connections: Connections;
  readonly logger: Logger;
  readonly faults: FaultLog;
  readonly onHandshakeFailure: (reason: HandshakeFailure) => void;
}

export interface BoundSocket<S extends Socket> {
  readonly socket: S;
  readonly endpoint: string;
  readonly refusals: Refusals;
  /** Closes the socket and waits, a little, until the system has its port back. */
  close(): Promise<void>;
}

/** How long to wait until the system has released the port after closing. */
const RELEASE_PORT_MS = 1000;

/**
 * Binds a socket with its own ZAP handler, in that order: libzmq accepts every key while no handler is bound.
 * @throws ValueError for a key that is none, or the socket's error (`EADDRINUSE`, `EINVAL`, ...), with everything
 * closed again.
 */
export async function bindSocket<S extends Socket & { bind(address: string): Promise<void> }>(
  create: (context: Context) => S,
  options: BoundSocketOptions,
): Promise<BoundSocket<S>> {
  const { address, curve, connections, logger, faults, onHandshakeFailure } = options;
  if (curve) checkKeys({ secretKey: curve.secretKey });
  // A context has one ZAP endpoint. With a context of its own, every bound socket has its own set of accepted keys.
  const context = new Context();
  const refusals = new Refusals();
  const zap = curve
    ? await ZapHandler.bind({
        context,
        acceptedKeys: curve.acceptedKeys,
        logger,
        faults,
        rehearsal: curve.rehearsal,
        onRefused: (from) => {
          refusals.count(from);
        },
      })
    : undefined;
  const failed = (reason: HandshakeFailure) => {
    if (curve?.rehearsal?.expects(reason) === true)
      logger.debug('a stranger of the self-test did not get through the handshake', { reason });
    else onHandshakeFailure(reason);
  };
  const socket = create(context);
  const released = deferred<void>();
  const watch = watchEvents(socket, (event) => {
    switch (event.type) {
      case 'accept':
        connections.onAccept();
        break;
      case 'disconnect':
        connections.onDisconnect();
        break;
      case 'close':
        released.resolve();
        break;
      case 'accept:error':
        faults.warn('a connection could not be accepted', event.error.message);
        break;
      case 'handshake:error:auth':
        failed('auth');
        break;
      case 'handshake:error:protocol':
        failed('protocol');
        break;
      case 'handshake:error:other':
        failed('other');
        break;
      default:
    }
  });
  const close = async () => {
    // Closing goes on in ZeroMQ's own thread; whoever binds the port next should not have to know. Not `unbind`: it
    // runs in a worker thread and races with the pending receive, which makes libzmq abort the process.
    socket.close();
    watch.end();
    await within(released.promise, { timeoutMs: RELEASE_PORT_MS, what: 'close' }).catch(() => undefined);
    zap?.close();
  };
  try {
    if (curve) {
      socket.zapDomain = ZAP_DOMAIN;
      socket.zapEnforceDomain = true;
      socket.curveServer = true;
      socket.curveSecretKey = curve.secretKey;
    }
    await socket.bind(withWildcardPort(address));
  } catch (error) {
    socket.close();
    watch.end();
    zap?.close();
    throw error;
  }
  return { socket, endpoint: socket.lastEndpoint ?? address, refusals, close };
}

/** ZeroMQ spells "any free port" as `*`; port 0 means the same here. */
function withWildcardPort(address: string): string {
  return address.replace(/^(tcp:\/\/.*):0$/, '$1:*');
}
