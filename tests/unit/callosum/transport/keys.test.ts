import {
  derivePublicKey,
  generateKeyPair,
  isCurveKey,
  isKeyPair,
  z85Decode,
  z85Encode,
} from '../../../../src/callosum/transport/keys.js';
import { readVectors } from '../../../support/vectors.js';

interface Pair {
  readonly name: string;
  readonly public_key_z85?: string;
  readonly secret_key_z85?: string;
  readonly public_key_hex: string;
}
const { key_pairs: pairs } = readVectors<{ readonly key_pairs: readonly Pair[] }>('zmq-certs.json');
const known = pairs.flatMap(({ name, public_key_z85: publicKey, secret_key_z85: secretKey }) =>
  publicKey === undefined || secretKey === undefined ? [] : [[name, { publicKey, secretKey }] as const],
);

test.each(known)('%s: public key derived from the secret one', (_name, pair) => {
  expect(derivePublicKey(pair.secretKey)).toBe(pair.publicKey);
  expect(isKeyPair(pair)).toBe(true);
});

test('generated pairs are sound and differ', () => {
  const [a, b] = [generateKeyPair(), generateKeyPair()];
  expect(isKeyPair(a)).toBe(true);
  expect(isKeyPair({ publicKey: a.publicKey, secretKey: b.secretKey })).toBe(false);
});

test('Z85 of the specification example', () => {
  expect(z85Encode(Buffer.from('864fd26fb559f75b', 'hex'))).toBe('HelloWorld');
  expect(Buffer.from(z85Decode('HelloWorld')).toString('hex')).toBe('864fd26fb559f75b');
});

test.each([
  ['of a wrong length', 'Hello1'],
  ['with a foreign character', 'Hell~'],
  ['with a group above 32 bits', '#####'],
])('Z85 text %s is refused without being shown', (_what, text) => {
  expect(() => z85Decode(text)).toThrow(expect.objectContaining({ code: 'ARGS_INVALID_VALUE' }));
  expect(() => z85Decode(text)).not.toThrow(text);
});

test('a key is 40 characters', () => {
  expect(isCurveKey('HelloWorld')).toBe(false);
  expect(isCurveKey('é'.repeat(40))).toBe(false);
  expect(() => derivePublicKey('short')).toThrow('not 40 characters');
});
