import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSecretKeyFile } from '../../../src/callosum/index.js';
import { runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';

let daemon: TestDaemon;
let accepted: string;
beforeAll(async () => {
  daemon = await TestDaemon.prepare({ agentIds: ['i-alone'] });
  accepted = join(daemon.directory, 'managers');
  await mkdir(accepted);
  const text = await readFile(daemon.configPath, 'utf8');
  await writeFile(
    daemon.configPath,
    text
      .replace(/rpc-auth-manager-public-key = .*\n/, '')
      .replace('[splenium]\n', `[splenium]\naccepted-manager-keys = "${accepted}"\n`),
  );
  await writeFile(
    join(accepted, 'old.key'),
    await readFile(join(daemon.directory, 'keys/manager.key'), 'utf8'),
  );
  await daemon.resume();
}, 90_000);
afterAll(async () => {
  await daemon.dispose();
}, 90_000);

test('a manager goes over to a new key, as the guide says, and no call fails', async () => {
  const old = daemon.client();
  let calls = 0;
  const stop = new AbortController();
  const calling = (async () => {
    for (; !stop.signal.aborted; calls += 1) await old.ping(String(calls));
  })();

  const made = await runCommand(['keys', 'generate', 'new', 'manager'], { cwd: daemon.directory });
  const [publicFile = '', secretFile = ''] = made.out.split('\n');
  const keys = await readSecretKeyFile(secretFile);
  const early = daemon.client(null, keys);
  await expect(early.ping()).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  await early.close();

  await writeFile(join(accepted, 'new.key'), await readFile(publicFile, 'utf8'));
  const fresh = await eventually(async () => {
    const client = daemon.client(null, keys);
    try {
      await client.ping();
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  });

  await rm(join(accepted, 'old.key'));
  await eventually(async () => {
    const client = daemon.client();
    try {
      await expect(client.ping()).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
    } finally {
      await client.close();
    }
  });
  // What is connected stays connected: the key is asked for only when a connection is made.
  expect(await old.ping('still')).toBe('still');
  stop.abort();
  await calling;
  expect(calls).toBeGreaterThan(0);
  expect(await fresh.ping('over')).toBe('over');
  await Promise.all([old.close(), fresh.close()]);
}, 120_000);
