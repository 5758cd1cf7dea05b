/** Frame types, the last frame but two of every multipart message (spec/wire-protocol.md 1.3). */
const PING = Buffer.from('PING');
const PONG = Buffer.from('PONG');
const UPPER = Buffer.from('UPPER');
const EMPTY = Buffer.alloc(0);

/** Why a multipart message carries nothing for us. */
export type FrameFault = 'too-few-frames' | 'unknown-frame-type' | 'unexpected-pong';

/** A multipart message as read from a socket; `envelope` is everything before the last three frames. */
export type Incoming =
  | {
      readonly kind: 'ping';
      readonly envelope: readonly Uint8Array[];
      readonly payload: readonly Uint8Array[];
    }
  | {
      readonly kind: 'upper';
      /** First frame of the envelope; undefined on a socket without routing ids. */
      readonly peer: Uint8Array | undefined;
      readonly header: Uint8Array;
      readonly body: Uint8Array;
    }
  | { readonly kind: 'ignored'; readonly fault: FrameFault };

/** Never throws: what cannot be read comes back as `ignored` with the reason. */
export function readFrames(frames: readonly Uint8Array[]): Incoming {
  const last = frames.length - 1;
  const type = frames[last - 2];
  const header = frames[last - 1];
  const body = frames[last];
  if (!type || !header || !body) return { kind: 'ignored', fault: 'too-few-frames' };
  if (UPPER.equals(type)) return { kind: 'upper', peer: last > 2 ? frames[0] : undefined, header, body };
  if (PING.equals(type)) return { kind: 'ping', envelope: frames.slice(0, -3), payload: [header, body] };
  return { kind: 'ignored', fault: PONG.equals(type) ? 'unexpected-pong' : 'unknown-frame-type' };
}

/** What opens a connection. */
export function pingFrames(): Uint8Array[] {
  return [PING, EMPTY, EMPTY];
}

/** The answer to a PING: same envelope, payload unchanged. */
export function pongFrames(ping: Extract<Incoming, { kind: 'ping' }>): Uint8Array[] {
  return [...ping.envelope, PONG, ...ping.payload];
}

/** Does a received message complete the handshake? Only its first frame counts (spec/wire-protocol.md 1.4). */
export function isPong(frames: readonly Uint8Array[]): boolean {
  return frames[0] !== undefined && PONG.equals(frames[0]);
}

/** A header and a body on their way out; the envelope holds the routing id alone, or nothing on a DEALER. */
export function upperFrames(
  peer: Uint8Array | undefined,
  header: Uint8Array,
  body: Uint8Array,
): Uint8Array[] {
  return peer === undefined ? [UPPER, header, body] : [peer, UPPER, header, body];
}
