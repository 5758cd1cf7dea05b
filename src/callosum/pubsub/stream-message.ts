import { readFrames, upperFrames } from '../wire/frames.js';
import { sliceArray } from '../wire/msgpack-slices.js';
import { decodeTimestamp, encodeTimestamp, TIMESTAMP_BYTES } from '../wire/timestamp.js';

/** A published message: its payload, and when it was created (spec/wire-protocol.md 2.9). */
export interface StreamMessage {
  /** Microseconds since 1970. */
  readonly createdAtUs: number;
  readonly payload: Uint8Array;
}

export type StreamFault = 'frames' | 'header' | 'created-at' | 'payload-too-large';

export type DecodedStreamMessage =
  | { readonly ok: true; readonly message: StreamMessage }
  | { readonly ok: false; readonly fault: StreamFault };

const HEADER_START = Buffer.of(0x91, 0xc4, TIMESTAMP_BYTES);

/** @throws ValueError for a time that has no encoding. */
export function encodeStreamMessage({ createdAtUs, payload }: StreamMessage): Uint8Array[] {
  return upperFrames(undefined, Buffer.concat([HEADER_START, encodeTimestamp(createdAtUs)]), payload);
}

/** Never throws: what a publisher sent wrong comes back as a named fault. */
export function decodeStreamMessage(
  frames: readonly Uint8Array[],
  limits: { readonly maxPayloadBytes: number },
): DecodedStreamMessage {
  const incoming = readFrames(frames);
  if (incoming.kind !== 'upper') return { ok: false, fault: 'frames' };
  const fields = sliceArray(incoming.header);
  const [createdAt] = fields ?? [];
  if (!createdAt || fields?.length !== 1 || createdAt.family !== 'bin') return { ok: false, fault: 'header' };
  const createdAtUs = decodeTimestamp(createdAt.content);
  if (createdAtUs === undefined) return { ok: false, fault: 'created-at' };
  if (incoming.body.length > limits.maxPayloadBytes) return { ok: false, fault: 'payload-too-large' };
  return { ok: true, message: { createdAtUs, payload: incoming.body } };
}
