import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  parseCertificate,
  readPublicKeyFile,
  readSecretKeyFile,
  writeKeyFiles,
} from '../../../../src/callosum/transport/certificates.js';
import { generateKeyPair } from '../../../../src/callosum/transport/keys.js';
import { readVectors } from '../../../support/vectors.js';

interface Vectors {
  readonly key_pairs: readonly {
    readonly name: string;
    readonly public_file: string;
    readonly secret_file: string;
  }[];
  readonly parser_cases: readonly {
    readonly id: string;
    readonly text: string;
    readonly public_key?: string;
    readonly secret_key?: string | null;
    readonly error?: string;
  }[];
}
const vectors = readVectors<Vectors>('zmq-certs.json');

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-keys-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function file(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

test.each(vectors.parser_cases.map((item) => [item.id, item] as const))('text: %s', (_id, item) => {
  const { publicKey, secretKey } = parseCertificate(item.text);
  expect(publicKey).toBe(item.public_key);
  if (item.error === undefined) expect(secretKey ?? null).toBe(item.secret_key);
});

test.each(vectors.key_pairs.map((pair) => [pair.name, pair] as const))(
  'files of pyzmq: %s',
  async (_name, pair) => {
    const secret = await readSecretKeyFile(await file('k.key_secret', pair.secret_file));
    expect(secret.secretKey).toHaveLength(40);
    const open = await file('k.key', pair.public_file, 0o644);
    await expect(readPublicKeyFile(open)).resolves.toBe(secret.publicKey);
  },
);

test('a pair is read back as it was written, in the lines of pyzmq', async () => {
  const pair = generateKeyPair();
  const files = await writeKeyFiles(directory, 'agent', pair);
  expect(files).toEqual({
    publicFile: join(directory, 'agent.key'),
    secretFile: join(directory, 'agent.key_secret'),
  });
  await expect(readSecretKeyFile(files.secretFile)).resolves.toEqual(pair);
  const text = await readFile(files.secretFile, 'utf8');
  expect(text.split('\n').filter((line) => !line.startsWith('#'))).toEqual([
    '',
    'metadata',
    'curve',
    `    public-key = "${pair.publicKey}"`,
    `    secret-key = "${pair.secretKey}"`,
    '',
  ]);
  expect(await readFile(files.publicFile, 'utf8')).not.toContain(pair.secretKey);
});

test('the secret file is 0600 whatever the umask', async () => {
  const before = process.umask(0);
  try {
    const { secretFile } = await writeKeyFiles(directory, 'agent', generateKeyPair());
    expect((await stat(secretFile)).mode & 0o777).toBe(0o600);
  } finally {
    process.umask(before);
  }
});

test('existing files stay unless overwriting is asked for, and then the mode is tightened', async () => {
  const first = generateKeyPair();
  const { secretFile } = await writeKeyFiles(directory, 'agent', first);
  await expect(writeKeyFiles(directory, 'agent', generateKeyPair())).rejects.toMatchObject({
    message: expect.stringContaining('exists already'),
  });
  await expect(readSecretKeyFile(secretFile)).resolves.toEqual(first);
  await chmod(secretFile, 0o644);
  const second = generateKeyPair();
  await writeKeyFiles(directory, 'agent', second, { overwrite: true });
  await expect(readSecretKeyFile(secretFile)).resolves.toEqual(second);
});

test.each([0o640, 0o604, 0o660, 0o610])(
  'a secret file of mode %o is refused with the command to run',
  async (mode) => {
    const [pair] = vectors.key_pairs;
    const path = await file('manager.key_secret', pair?.secret_file ?? '', mode);
    await expect(readSecretKeyFile(path)).rejects.toMatchObject({
      code: 'KEY_FILE_MODE',
      message: `${path}: mode 0${mode.toString(8)} gives others access to a secret key; run: chmod 600 '${path}'`,
    });
  },
);

test.each([
  ['is missing', undefined, 'no such file'],
  ['has no key', 'metadata\ncurve\n', 'no public-key line'],
  ['has a short key', 'public-key = "short"\n', 'public-key is not 40 characters of Z85'],
  ['is the public one', 'public-key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"\n', 'no secret-key line'],
])('a file that %s is refused by name', async (_what, text, why) => {
  const path = text === undefined ? join(directory, 'absent') : await file('bad.key_secret', text);
  await expect(readSecretKeyFile(path)).rejects.toMatchObject({
    code: 'KEY_FILE_INVALID',
    message: expect.stringMatching(new RegExp(`^${path}: .*${why}`)),
  });
});

test('keys that do not belong together are refused, and neither is shown', async () => {
  const [a, b] = [generateKeyPair(), generateKeyPair()];
  const { secretFile } = await writeKeyFiles(directory, 'x', { ...a, secretKey: b.secretKey });
  const error: unknown = await readSecretKeyFile(secretFile).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ message: expect.stringContaining('does not belong to secret-key') });
  expect(String(error)).not.toContain(b.secretKey);
});
