import nacl from 'tweetnacl';
import { ValueError } from '../../core/errors.js';

/** A CURVE key pair in Z85 text, 40 characters each. */
export interface KeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';
const DIGITS = new Map(Array.from(ALPHABET, (char, value) => [char, value]));
const KEY_BYTES = 32;
const KEY_CHARS = 40;

/**
 * Z85 text of bytes (ZeroMQ RFC 32).
 * @throws ValueError unless the length is a multiple of 4.
 */
export function z85Encode(bytes: Uint8Array): string {
  if (bytes.length % 4 !== 0)
    throw new ValueError(`Z85 needs a multiple of 4 bytes, got ${String(bytes.length)}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = '';
  for (let offset = 0; offset < bytes.length; offset += 4) {
    let word = view.getUint32(offset);
    let group = '';
    for (let i = 0; i < 5; i++) {
      group = ALPHABET.charAt(word % 85) + group;
      word = Math.floor(word / 85);
    }
    text += group;
  }
  return text;
}

/**
 * Bytes of Z85 text.
 * @throws ValueError on a wrong length, a foreign character or a group above 32 bits. The text itself is never
 * part of the message, since it may be a secret key.
 */
export function z85Decode(text: string): Uint8Array {
  if (text.length % 5 !== 0)
    throw new ValueError(`Z85 needs a multiple of 5 characters, got ${String(text.length)}`);
  const bytes = new Uint8Array((text.length / 5) * 4);
  const view = new DataView(bytes.buffer);
  for (let group = 0; group < text.length / 5; group++) {
    let word = 0;
    for (const char of text.slice(group * 5, group * 5 + 5)) {
      const digit = DIGITS.get(char);
      if (digit === undefined) throw new ValueError('Z85 text has a character outside its alphabet');
      word = word * 85 + digit;
    }
    if (word > 0xffff_ffff) throw new ValueError('Z85 text has a group above 32 bits');
    view.setUint32(group * 4, word);
  }
  return bytes;
}

/** Is this text a CURVE key: 40 characters of Z85 that stand for 32 bytes? */
export function isCurveKey(text: string): boolean {
  if (text.length !== KEY_CHARS) return false;
  try {
    return z85Decode(text).length === KEY_BYTES;
  } catch {
    return false;
  }
}

export function generateKeyPair(): KeyPair {
  const pair = nacl.box.keyPair();
  try {
    return { publicKey: z85Encode(pair.publicKey), secretKey: z85Encode(pair.secretKey) };
  } finally {
    pair.secretKey.fill(0);
  }
}

/** @throws ValueError when the text is not a CURVE key. */
export function derivePublicKey(secretKey: string): string {
  if (!isCurveKey(secretKey)) throw new ValueError('the secret key is not 40 characters of Z85');
  const secret = z85Decode(secretKey);
  try {
    return z85Encode(nacl.scalarMult.base(secret));
  } finally {
    // The text stays until it is collected; the bytes at least need not.
    secret.fill(0);
  }
}

/** Does the public key belong to the secret key? False also when either is not a key. */
export function isKeyPair(pair: KeyPair): boolean {
  return (
    isCurveKey(pair.publicKey) &&
    isCurveKey(pair.secretKey) &&
    derivePublicKey(pair.secretKey) === pair.publicKey
  );
}
