import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AcceptedKeysDirectory } from '../../../../src/callosum/transport/accepted-keys.js';
import { formatPublicCertificate, writeKeyFiles } from '../../../../src/callosum/transport/certificates.js';
import { generateKeyPair } from '../../../../src/callosum/transport/keys.js';
import { silentLogger } from '../../../../src/core/logger.js';
import type { Logger, LogFields } from '../../../../src/core/logger.js';

const manager = generateKeyPair();
const successor = generateKeyPair();

let directory: string;
let opened: AcceptedKeysDirectory[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-accepted-'));
  opened = [];
});
afterEach(async () => {
  for (const keys of opened) keys.close();
  await rm(directory, { recursive: true, force: true });
});

type Options = Partial<Parameters<typeof AcceptedKeysDirectory.open>[0]>;

/** Polls so seldom that only what the test asks for, or the system reports, leads to reading. */
async function open(options: Options = {}): Promise<AcceptedKeysDirectory> {
  const keys = await AcceptedKeysDirectory.open({ directory, pollMs: 3_600_000, ...options });
  opened.push(keys);
  return keys;
}

/** Resolves at the first change that leaves these names. */
function changeTo(...names: string[]): {
  readonly onChange: (now: readonly string[]) => void;
  readonly seen: Promise<void>;
} {
  let resolve: () => void;
  const seen = new Promise<void>((onSeen) => {
    resolve = onSeen;
  });
  return {
    seen,
    onChange: (now) => {
      if (names.join() === now.join()) resolve();
    },
  };
}

const put = async (name: string, publicKey: string) => {
  await writeFile(join(directory, `.${name}.new`), formatPublicCertificate(publicKey, new Date(0)));
  await rename(join(directory, `.${name}.new`), join(directory, `${name}.key`));
};

test('the keys of all key files are accepted, and nothing else is looked at', async () => {
  await writeKeyFiles(directory, 'manager', manager);
  await put('successor', successor.publicKey);
  await writeFile(join(directory, 'README'), 'no key');
  const keys = await open();
  expect(keys.names).toEqual(['manager', 'successor']);
  expect([manager, successor, generateKeyPair()].map(({ publicKey }) => keys.has(publicKey))).toEqual([
    true,
    true,
    false,
  ]);
});

test('an added file lets its key in and a removed one shuts it out, as the system reports it', async () => {
  await put('manager', manager.publicKey);
  const both = changeTo('manager', 'successor');
  const one = changeTo('successor');
  const keys = await open({
    // for systems that cannot watch any more files
    pollMs: 5000,
    onChange: (names) => {
      both.onChange(names);
      one.onChange(names);
    },
  });
  await put('successor', successor.publicKey);
  await both.seen;
  expect(keys.has(successor.publicKey)).toBe(true);
  await rm(join(directory, 'manager.key'));
  await one.seen;
  expect(keys.has(manager.publicKey)).toBe(false);
});

test('what the system does not report is found by looking again', async () => {
  const change = changeTo('late');
  // A watch ends with its directory; the one made anew is only found by polling.
  const keys = await open({ pollMs: 10, onChange: change.onChange });
  await rename(directory, `${directory}.old`);
  await rm(`${directory}.old`, { recursive: true });
  await mkdir(directory);
  await put('late', manager.publicKey);
  await change.seen;
  expect(keys.has(manager.publicKey)).toBe(true);
});

test('a file that cannot be read keeps the key it held, and the log names it', async () => {
  const warnings: (LogFields | undefined)[] = [];
  const logger: Logger = { ...silentLogger, warn: (_message, fields) => warnings.push(fields) };
  await put('manager', manager.publicKey);
  const keys = await open({ logger });
  await writeFile(join(directory, 'manager.key'), 'half');
  await writeFile(join(directory, 'new.key'), 'half');
  await keys.reload();
  expect(keys.has(manager.publicKey)).toBe(true);
  expect(keys.names).toEqual(['manager']);
  expect(new Set(warnings.map((fields) => fields?.['path']))).toEqual(
    new Set([join(directory, 'manager.key'), join(directory, 'new.key')]),
  );
  await put('manager', successor.publicKey);
  await keys.reload();
  expect([keys.has(manager.publicKey), keys.has(successor.publicKey)]).toEqual([false, true]);
});

test('a directory that goes away leaves the keys as they are', async () => {
  await put('manager', manager.publicKey);
  const keys = await open();
  await rename(directory, `${directory}.away`);
  await keys.reload();
  expect(keys.has(manager.publicKey)).toBe(true);
  await rename(`${directory}.away`, directory);
});

test('a directory that is not there is refused by name', async () => {
  await expect(AcceptedKeysDirectory.open({ directory: join(directory, 'none') })).rejects.toMatchObject({
    code: 'KEY_FILE_INVALID',
    message: expect.stringContaining(join(directory, 'none')),
  });
});
