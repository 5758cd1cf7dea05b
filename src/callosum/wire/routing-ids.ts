/** So many ids of each form are remembered; more connections only cost a little more time. */
const MAX_REMEMBERED = 4096;
/** What a ROUTER gives a peer that names itself nothing: a zero and a number. */
const GENERATED_BYTES = 5;

/**
 * Routing ids as frames and as the text that names a peer everywhere else: hex, empty for none. Those seen lately are
 * kept in both forms, since every message needs them both ways.
 */
export class RoutingIds {
  readonly #texts = new Map<number, string>();
  readonly #frames = new Map<string, Uint8Array>();

  textOf(frame: Uint8Array | undefined): string {
    if (frame === undefined) return '';
    if (frame.length !== GENERATED_BYTES || frame[0] !== 0) return hexOf(frame);
    const number =
      (frame[1] ?? 0) * 0x100_0000 + (frame[2] ?? 0) * 0x1_0000 + (frame[3] ?? 0) * 0x100 + (frame[4] ?? 0);
    const known = this.#texts.get(number);
    if (known !== undefined) return known;
    const text = hexOf(frame);
    if (this.#texts.size >= MAX_REMEMBERED) this.#texts.clear();
    this.#texts.set(number, text);
    return text;
  }

  frameOf(text: string): Uint8Array {
    const known = this.#frames.get(text);
    if (known) return known;
    const frame = Buffer.from(text, 'hex');
    if (frame.length !== GENERATED_BYTES) return frame;
    if (this.#frames.size >= MAX_REMEMBERED) this.#frames.clear();
    this.#frames.set(text, frame);
    return frame;
  }
}

function hexOf(frame: Uint8Array): string {
  return Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString('hex');
}
