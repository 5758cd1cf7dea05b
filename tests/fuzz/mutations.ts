import type { Random } from './random.js';

/** Bytes that mean something to msgpack, pickle or snappy: lengths, counts, opcodes, the largest of their kind. */
const TELLING = [
  '00', '7f', '80', '8f', '90', '9f', 'a0', 'bf', 'c0', 'c1', 'c2', 'c3', 'c4ff', 'c5ffff', 'c6ffffffff',
  'c6ffffff7f', 'c7ff06', 'c9ffffffff03', 'cb7ff8000000000000', 'cfffffffffffffffff', 'd38000000000000000',
  'd801', 'd9ff', 'dbffffffff', 'dcffff', 'ddffffffff', 'deffff', 'dfffffffff', 'ff', 'e0',
  '8005', '2e', '28', '94', '6800', '6affffffff', '93', '52', '81', '62', '75', '8affff', '58ffffffff',
  '95ffffffffffffffff', 'fcf0ffffff', 'feffff', '0d00', 'ffffffff0f',
].map((hex) => Buffer.from(hex, 'hex')); // prettier-ignore

/** One change that a broken or hostile sender might have made. */
export function mutate(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  switch (random.below(9)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (flipped.length > 0) {
        const where = random.below(flipped.length);
        flipped[where] = (flipped[where] ?? 0) ^ (1 << random.below(8));
      }
      return flipped;
    }
    case 1: {
      const replaced = Buffer.from(bytes);
      if (replaced.length > 0) replaced[random.below(replaced.length)] = random.below(256);
      return replaced;
    }
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return bytes.subarray(at);
    case 4: {
      const telling = random.oneOf(TELLING);
      return Buffer.concat([bytes.subarray(0, at), telling, bytes.subarray(at)]);
    }
    case 5: {
      const telling = random.oneOf(TELLING);
      return Buffer.concat([bytes.subarray(0, at), telling, bytes.subarray(at + telling.length)]);
    }
    case 6: {
      // A piece once more, sometimes many times: nesting and repetition.
      const piece = bytes.subarray(at, at + 1 + random.below(16));
      const times = 1 + (random.below(20) === 0 ? random.below(200) : random.below(3));
      const repeated = Array.from({ length: times }, () => piece);
      return Buffer.concat([bytes.subarray(0, at), ...repeated, bytes.subarray(at)]);
    }
    case 7: {
      const other = random.oneOf(others);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
    default:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at)]);
  }
}

/** Mostly one change, sometimes several. */
export function mutateSome(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let mutated = bytes;
  for (let changes = 1 + (random.below(4) === 0 ? random.below(6) : 0); changes > 0; changes--)
    mutated = mutate(mutated, others, random);
  return mutated;
}
