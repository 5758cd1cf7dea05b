import { open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, messageOf } from '../../core/errors.js';
import { KeyFileError, KeyFileModeError } from '../errors.js';
import { isCurveKey, isKeyPair } from './keys.js';
import type { KeyPair } from './keys.js';

/** What a key file says, before anything is checked (spec/wire-protocol.md 1.8). */
export interface CertificateText {
  readonly publicKey: string | undefined;
  readonly secretKey: string | undefined;
}

const PUBLIC_BANNER = [
  'ZeroMQ CURVE Public Certificate',
  'Give this file to the other side over a channel that you trust.',
];
const SECRET_BANNER = [
  'ZeroMQ CURVE **Secret** Certificate',
  'Keep this file to its owner (mode 0600) and on this machine.',
];

/**
 * Reads the text of a key file as `zmq.auth.load_certificate` does: first `=` splits, quotes and blanks around the
 * value go, comment and section lines are skipped, reading stops once both keys are known.
 */
export function parseCertificate(text: string): CertificateText {
  let publicKey: string | undefined;
  let secretKey: string | undefined;
  for (const rawLine of text.split(/\r\n|\r|\n/)) {
    const line = rawLine.trim();
    if (line.startsWith('#')) continue;
    if (line.startsWith('public-key')) publicKey = valueOf(line) ?? publicKey;
    if (line.startsWith('secret-key')) secretKey = valueOf(line) ?? secretKey;
    if (publicKey !== undefined && secretKey !== undefined) break;
  }
  return { publicKey, secretKey };
}

function valueOf(line: string): string | undefined {
  const equals = line.indexOf('=');
  if (equals < 0) return undefined;
  return line.slice(equals + 1).replace(/^[ \t'"]+|[ \t'"]+$/g, '');
}

/** Text of a public key file in the layout of `zmq.auth`. */
export function formatPublicCertificate(publicKey: string, createdAt: Date): string {
  return format(PUBLIC_BANNER, createdAt, [`    public-key = "${publicKey}"`]);
}

/** Text of a secret key file in the layout of `zmq.auth`. */
export function formatSecretCertificate(pair: KeyPair, createdAt: Date): string {
  const lines = [`    public-key = "${pair.publicKey}"`, `    secret-key = "${pair.secretKey}"`];
  return format(SECRET_BANNER, createdAt, lines);
}

function format(banner: readonly string[], createdAt: Date, keys: readonly string[]): string {
  const comments = [`****  Generated on ${createdAt.toISOString()} by splenium  ****`, ...banner];
  return [...comments.map((line) => `#   ${line}`), '', 'metadata', 'curve', ...keys, ''].join('\n');
}

/**
 * The public key of a `.key` file, or of a `.key_secret` file, which is then checked like one.
 * @throws KeyFileError naming the file.
 */
export async function readPublicKeyFile(path: string): Promise<string> {
  return (await readKeyFile(path)).publicKey;
}

/**
 * The pair of a `.key_secret` file. Nobody but the owner may have access to it (looked at on the open file, so that
 * it cannot change in between) and the two keys must belong together.
 * @throws KeyFileModeError when others have access, KeyFileError for anything else wrong with the file.
 */
export async function readSecretKeyFile(path: string): Promise<KeyPair> {
  const { publicKey, secretKey } = await readKeyFile(path);
  if (secretKey === undefined)
    throw invalid(path, 'no secret-key line; is this the public file of the pair?');
  return { publicKey, secretKey };
}

interface CheckedKeys {
  readonly publicKey: string;
  readonly secretKey: string | undefined;
}

async function readKeyFile(path: string): Promise<CheckedKeys> {
  const { text, mode } = await readWithMode(path);
  const { publicKey, secretKey } = parseCertificate(text);
  if (secretKey !== undefined && (mode & 0o077) !== 0)
    throw new KeyFileModeError(
      `${path}: mode ${mode.toString(8).padStart(4, '0')} gives others access to a secret key; run: chmod 600 '${path}'`,
      { details: { path } },
    );
  if (publicKey === undefined) throw invalid(path, 'no public-key line');
  if (!isCurveKey(publicKey)) throw invalid(path, 'public-key is not 40 characters of Z85');
  if (secretKey === undefined) return { publicKey, secretKey };
  if (!isCurveKey(secretKey)) throw invalid(path, 'secret-key is not 40 characters of Z85');
  if (!isKeyPair({ publicKey, secretKey }))
    throw invalid(path, 'public-key does not belong to secret-key; generate a new pair');
  return { publicKey, secretKey };
}

/** Paths of the two files of a pair: `<name>.key` and `<name>.key_secret`, as `zmq.auth` names them. */
export interface KeyFiles {
  readonly publicFile: string;
  readonly secretFile: string;
}

/**
 * Writes both files of a pair into an existing directory, the secret one with mode 0600 whatever the umask.
 * @throws KeyFileError when one of them exists and `overwrite` is not set, or cannot be written.
 */
export async function writeKeyFiles(
  directory: string,
  name: string,
  pair: KeyPair,
  options: { readonly overwrite?: boolean; readonly createdAt?: Date } = {},
): Promise<KeyFiles> {
  const base = join(directory, name);
  const files = { publicFile: `${base}.key`, secretFile: `${base}.key_secret` };
  const createdAt = options.createdAt ?? new Date();
  const overwrite = options.overwrite ?? false;
  await writeNew(files.secretFile, formatSecretCertificate(pair, createdAt), 0o600, overwrite);
  await writeNew(files.publicFile, formatPublicCertificate(pair.publicKey, createdAt), 0o644, overwrite);
  return files;
}

/** Replaces by rename, so that a reader never sees half a file and an old, wider mode does not survive. */
async function writeNew(path: string, text: string, mode: number, overwrite: boolean): Promise<void> {
  const target = overwrite ? `${path}.${String(process.pid)}.new` : path;
  try {
    const file = await open(target, 'wx', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    if (overwrite) await rename(target, path);
  } catch (error) {
    if (overwrite) await unlink(target).catch(() => undefined);
    if (hasCode(error, 'EEXIST'))
      throw new KeyFileError(`${path}: exists already; choose another name or remove it`, {
        details: { path },
      });
    throw new KeyFileError(`${path}: cannot be written: ${messageOf(error)}`, {
      cause: error,
      details: { path },
    });
  }
}

async function readWithMode(path: string): Promise<{ readonly text: string; readonly mode: number }> {
  try {
    const file = await open(path, 'r');
    try {
      const { mode } = await file.stat();
      return { mode: mode & 0o777, text: await file.readFile('utf8') };
    } finally {
      await file.close();
    }
  } catch (error) {
    const why = hasCode(error, 'ENOENT') ? 'no such file' : messageOf(error);
    throw new KeyFileError(`${path}: cannot read the key file: ${why}`, { cause: error, details: { path } });
  }
}

function invalid(path: string, why: string): KeyFileError {
  return new KeyFileError(`${path}: ${why}`, { details: { path } });
}
