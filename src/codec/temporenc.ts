import { DateTime } from './date-time.js';
import { DecodeError, EncodeError } from './errors.js';

/** Bit widths of spec/wire-protocol.md 4.4. */
const SUBSECOND = [
  { bits: 10, toMicroseconds: (value: number) => value * 1000 },
  { bits: 20, toMicroseconds: (value: number) => value },
  { bits: 30, toMicroseconds: (value: number) => Math.floor(value / 1000) },
  { bits: 0, toMicroseconds: () => 0 },
] as const;

const MAX_YEAR = 4094;

/**
 * A date and time in temporenc: type DTS for naive values, DTSZ for aware ones, microsecond precision as Python
 * always writes. Aware values are converted to UTC; the original offset travels beside them.
 * @throws EncodeError for years above 4094 and offsets that the format cannot hold.
 */
export function encodeTemporenc(value: DateTime): Uint8Array {
  const { offsetMinutes } = value;
  if (offsetMinutes !== null && (offsetMinutes % 15 !== 0 || offsetMinutes < -960 || offsetMinutes > 930))
    throw new EncodeError(`offset of ${String(offsetMinutes)} minutes has no encoding`);
  const { year, month, day, hour, minute, second, microsecond } = value.toUtc().fields;
  if (year < 0 || year > MAX_YEAR) throw new EncodeError(`year ${String(year)} has no encoding`);
  const bits = new BitWriter();
  if (offsetMinutes === null) bits.write(0b0101, 4);
  else bits.write(0b11101, 5);
  bits
    .write(year, 12)
    .write(month - 1, 4)
    .write(day - 1, 5);
  bits.write(hour, 5).write(minute, 6).write(second, 6).write(microsecond, 20);
  if (offsetMinutes !== null) bits.write(offsetMinutes / 15 + 64, 7);
  return bits.finish();
}

interface Layout {
  readonly tagBits: number;
  readonly date: boolean;
  readonly time: boolean;
  readonly subsecond: (typeof SUBSECOND)[number] | undefined;
  readonly zone: boolean;
}

/**
 * Reads every variant that holds a full date and time. Aware values come back in UTC with offset zero.
 * @throws DecodeError
 */
export function decodeTemporenc(bytes: Uint8Array): DateTime {
  const layout = layoutOf(bytes[0]);
  const width =
    layout.tagBits +
    (layout.date ? 21 : 0) +
    (layout.time ? 17 : 0) +
    (layout.subsecond?.bits ?? 0) +
    (layout.zone ? 7 : 0);
  if (bytes.length !== Math.ceil(width / 8))
    throw new DecodeError(`a date and time of ${String(bytes.length)} bytes has the wrong length`);
  const bits = new BitReader(bytes, layout.tagBits);
  if (!layout.date || !layout.time) throw new DecodeError('not a full date and time');
  const [year, month, day] = [bits.read(12), bits.read(4), bits.read(5)];
  const [hour, minute, second] = [bits.read(5), bits.read(6), bits.read(6)];
  const microsecond = layout.subsecond
    ? layout.subsecond.toMicroseconds(bits.read(layout.subsecond.bits))
    : 0;
  const inRange =
    year <= MAX_YEAR &&
    year > 0 &&
    month < 12 &&
    day < 31 &&
    hour < 24 &&
    minute < 60 &&
    second < 60 &&
    microsecond < 1e6;
  if (!inRange) throw new DecodeError('a field of the date and time is not set or out of range');
  return new DateTime(
    { year, month: month + 1, day: day + 1, hour, minute, second, microsecond },
    layout.zone ? 0 : null,
  );
}

function layoutOf(first: number | undefined): Layout {
  if (first === undefined) throw new DecodeError('an empty date and time');
  const plain = { date: true, time: true, subsecond: undefined, zone: false };
  if (first >> 6 === 0b00) return { ...plain, tagBits: 2 };
  if (first >> 6 === 0b01) return { ...plain, tagBits: 4, subsecond: SUBSECOND[(first >> 4) & 3] };
  if (first >> 5 === 0b100) return { ...plain, tagBits: 3, time: false };
  if (first >> 1 === 0b1010000) return { ...plain, tagBits: 7, date: false };
  if (first >> 5 === 0b110) return { ...plain, tagBits: 3, zone: true };
  if (first >> 5 === 0b111)
    return { ...plain, tagBits: 5, subsecond: SUBSECOND[(first >> 3) & 3], zone: true };
  throw new DecodeError('not a date and time');
}

class BitWriter {
  #value = 0n;
  #length = 0;

  write(value: number, bits: number): this {
    this.#value = (this.#value << BigInt(bits)) | BigInt(value);
    this.#length += bits;
    return this;
  }

  finish(): Uint8Array {
    const size = Math.ceil(this.#length / 8);
    let rest = this.#value << BigInt(size * 8 - this.#length);
    const bytes = new Uint8Array(size);
    for (let index = size - 1; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 0xffn);
    return bytes;
  }
}

class BitReader {
  readonly #value: bigint;
  readonly #total: number;
  #position: number;

  constructor(bytes: Uint8Array, skip: number) {
    this.#value = bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
    this.#total = bytes.length * 8;
    this.#position = skip;
  }

  read(bits: number): number {
    this.#position += bits;
    return Number(BigInt.asUintN(bits, this.#value >> BigInt(this.#total - this.#position)));
  }
}
