/** What one chunk of a pipe turned out to be: program output, and the numbers of the markers found in it. */
export interface Scanned {
  readonly output: readonly Uint8Array[];
  readonly markers: readonly number[];
}

const EDGE = 0x1e;
const DIGITS = 8;

/**
 * Finds the end of a run in the output of an interpreter that lives on. The driver inside the interpreter writes a
 * marker, `RS <secret> <8 digits> RS`, after everything the run has written, so no output can come late. The secret
 * is random per interpreter; only a suffix that may still become a marker is held back.
 */
export class MarkerScanner {
  readonly #head: Buffer;
  readonly #length: number;
  #held: Buffer = Buffer.alloc(0);

  constructor(secret: string) {
    this.#head = Buffer.from(`\x1e${secret}`, 'latin1');
    this.#length = this.#head.length + DIGITS + 1;
  }

  push(chunk: Uint8Array): Scanned {
    const data = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : Buffer.from(chunk);
    const output: Uint8Array[] = [];
    const markers: number[] = [];
    /** Output that is not told yet begins here, and ends before what is held back. */
    let from = 0;
    let end = data.length;
    let at = data.indexOf(EDGE);
    while (at >= 0) {
      const found = this.#markerAt(data, at);
      if (found === 'unfinished') {
        end = at;
        break;
      }
      if (found === null) {
        at = data.indexOf(EDGE, at + 1);
        continue;
      }
      if (at > from) output.push(data.subarray(from, at));
      markers.push(found);
      from = at + this.#length;
      at = data.indexOf(EDGE, from);
    }
    if (end > from) output.push(data.subarray(from, end));
    this.#held = Buffer.from(data.subarray(end));
    return { output, markers };
  }

  /** What was held back, once nothing more can come. */
  rest(): Uint8Array {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  /** The number of the marker that begins there; null: none does; `unfinished`: the next chunk decides. */
  #markerAt(data: Buffer, at: number): number | 'unfinished' | null {
    const candidate = data.subarray(at, at + this.#length);
    const known = Math.min(candidate.length, this.#head.length);
    if (!candidate.subarray(0, known).equals(this.#head.subarray(0, known))) return null;
    if (candidate.length < this.#length) return 'unfinished';
    const number = Number(candidate.toString('latin1', this.#head.length, this.#length - 1));
    return Number.isInteger(number) && candidate[this.#length - 1] === EDGE ? number : null;
  }
}
