import { ValueError } from '../../core/errors.js';

/**
 * The one form of temporenc that stream messages carry: date, time, microseconds and zone, 9 bytes
 * (spec/wire-protocol.md 2.9, 4.4). Python always writes UTC; a reader may meet another zone, whose offset is beside
 * the value, which is UTC all the same.
 */
export const TIMESTAMP_BYTES = 9;

/** Tag of "date, time, subsecond, zone" with precision "microseconds", 5 bits. */
const TAG = 0b11101n;
/** Offset zero in quarter hours, as it is written. */
const UTC = 64n;

/**
 * @param epochUs microseconds since 1970: a safe integer, which reaches from 1684 to 2255.
 * @throws ValueError for anything else.
 */
export function encodeTimestamp(epochUs: number): Uint8Array {
  const date = new Date(Math.floor(epochUs / 1000));
  if (!Number.isSafeInteger(epochUs))
    throw new ValueError(`${String(epochUs)} is no whole number of microseconds that a double holds exactly`);
  const microsecond = ((epochUs % 1_000_000) + 1_000_000) % 1_000_000;
  const fields: readonly (readonly [value: number, bits: bigint])[] = [
    [date.getUTCFullYear(), 12n],
    [date.getUTCMonth(), 4n],
    [date.getUTCDate() - 1, 5n],
    [date.getUTCHours(), 5n],
    [date.getUTCMinutes(), 6n],
    [date.getUTCSeconds(), 6n],
    [microsecond, 20n],
  ];
  let packed = TAG;
  for (const [value, bits] of fields) packed = (packed << bits) | BigInt(value);
  packed = ((packed << 7n) | UTC) << 2n;
  const bytes = Buffer.alloc(TIMESTAMP_BYTES);
  bytes.writeUInt8(Number(packed >> 64n), 0);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, packed), 1);
  return bytes;
}

/** Microseconds since 1970; undefined for anything but a full date and time of this form and of those years. */
export function decodeTimestamp(bytes: Uint8Array): number | undefined {
  if (bytes.length !== TIMESTAMP_BYTES) return undefined;
  let packed = 0n;
  for (const byte of bytes) packed = (packed << 8n) | BigInt(byte);
  if (packed >> 67n !== TAG) return undefined;
  const field = (shift: bigint, bits: bigint) => Number(BigInt.asUintN(Number(bits), packed >> shift));
  const [year, month, day] = [field(55n, 12n), field(51n, 4n), field(46n, 5n)];
  const [hour, minute, second] = [field(41n, 5n), field(35n, 6n), field(29n, 6n)];
  const microsecond = field(9n, 20n);
  if (month > 11 || day > 30) return undefined;
  if (hour > 23 || minute > 59 || second > 59 || microsecond > 999_999) return undefined;
  const date = new Date(0);
  // not Date.UTC, which takes years below 100 for 19xx
  date.setUTCFullYear(year, month, day + 1);
  date.setUTCHours(hour, minute, second);
  // The 31st of a shorter month would have become the next one.
  if (date.getUTCMonth() !== month) return undefined;
  const epochUs = date.getTime() * 1000 + microsecond;
  return Number.isSafeInteger(epochUs) ? epochUs : undefined;
}
