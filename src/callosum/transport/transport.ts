import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { OnOutcome } from './outbox.js';

/** What a peer needs of a socket: frames in, frames out. */
export interface Transport {
  /** The actual endpoint of a bound socket; the address of a connected one. */
  readonly endpoint: string;
  /** How often clients were refused for their key, by IP address; empty on a connected socket. */
  readonly refusedAddresses: ReadonlyMap<string, number>;
  /** Starts the receive loop; to be called once. */
  start(onFrames: (frames: readonly Uint8Array[]) => undefined): void;
  /** Sends or queues a multipart message; `peer` names the line it waits in. Never throws. */
  send(peer: string, frames: readonly Uint8Array[], onOutcome?: OnOutcome): void;
  /** May this peer call, or has the socket more connections than it should? */
  admits(peer: string): boolean;
  /** Waits for queued messages, at most this long, then closes. Idempotent. */
  close(flushMs: number): Promise<void>;
}

interface Receiver {
  readonly closed: boolean;
  receive(): Promise<readonly Uint8Array[]>;
}

/** Pause after an unexpected error of the socket, so that a lasting one does not spin. */
const PAUSE_AFTER_ERROR_MS = 100;

/**
 * Reads a socket until it is closed. Neither an error of the socket nor one of the listener ends the loop. A listener
 * that returns a promise is waited for before the next message is read.
 */
export async function receiveLoop(
  socket: Receiver,
  onFrames: (frames: readonly Uint8Array[]) => Promise<void> | undefined,
  logger: Logger,
): Promise<void> {
  for (;;) {
    let frames: readonly Uint8Array[];
    try {
      frames = await socket.receive();
    } catch (error) {
      // A socket that closes rejects the pending read with EAGAIN.
      if (socket.closed) return;
      logger.error('receiving failed', { error: messageOf(error) });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_ERROR_MS));
      continue;
    }
    try {
      const pause = onFrames(frames);
      if (pause) await pause;
    } catch (error) {
      logger.error('a received message could not be handled', { error: messageOf(error) });
    }
  }
}

/**
 * The frame length at which ZeroMQ ends the connection. Messages between the limit and this are still read, so that
 * they can be refused by name.
 */
export function cutOffBytes(limits: { readonly maxMessageBytes: number }): number {
  return limits.maxMessageBytes * 2;
}
