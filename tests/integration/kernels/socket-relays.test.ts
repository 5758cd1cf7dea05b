import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { SocketRelays } from '../../../src/kernels/lifecycle/socket-relays.js';
import { eventually } from '../../support/eventually.js';

let directory: string;
let server: Server;
let relay: { socket: string; path: string };
const relays = () => new SocketRelays(silentLogger);

/** Answers each line in capitals and hangs up after `bye`. */
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spl-relay-'));
  relay = { socket: join(directory, 'host.sock'), path: join(directory, 'proxy', 'kernel.sock') };
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      socket.write(data.toString().toUpperCase());
      if (data.toString() === 'bye') socket.end();
    });
  });
  server.listen(relay.socket);
  await once(server, 'listening');
});
afterEach(async () => {
  await relays().close([relay]);
  server.close();
  await rm(directory, { recursive: true, force: true });
});

async function talk(text: string): Promise<string> {
  const socket = connect(relay.path);
  socket.write(text);
  let heard = '';
  socket.on('data', (data) => {
    heard += data.toString();
  });
  await once(socket, 'close');
  return heard;
}
const pid = async () => Number(await readFile(`${relay.path}.pid`, 'utf8'));
const isAlive = async (process: number) =>
  (await readFile(`/proc/${String(process)}/stat`, 'utf8').catch(() => ') Z')).split(') ')[1]?.[0] !== 'Z';

test('bytes go both ways, for everybody in the kernel, and an end is an end for both sides', async () => {
  await relays().open([relay]);
  expect((await stat(relay.path)).mode & 0o777).toBe(0o666);
  expect(await talk('bye')).toBe('BYE');
  expect(await Promise.all(['bye', 'bye'].map(talk))).toEqual(['BYE', 'BYE']);
});

test('it survives this process: opened again it is the same, also for a container that holds its socket', async () => {
  await relays().open([relay]);
  const [before, { ino }] = [await pid(), await stat(relay.path)];
  await relays().open([relay]);
  await relays().reopen([relay]);
  expect(await pid()).toBe(before);
  expect((await stat(relay.path)).ino).toBe(ino);
});

test('it is gone once its kernel is, and closing it again is fine', async () => {
  await relays().open([relay]);
  const process = await pid();
  await relays().close([relay]);
  await relays().close([relay]);
  expect(existsSync(relay.path)).toBe(false);
  await eventually(async () => {
    if (await isAlive(process)) throw new Error('still there');
  });
});

test('one that died is started anew; a number that is another process by now is left alone', async () => {
  await relays().open([relay]);
  process.kill(await pid(), 'SIGKILL');
  await writeFile(`${relay.path}.pid`, String(process.pid));
  await relays().reopen([relay]);
  expect(await pid()).not.toBe(process.pid);
  expect(await talk('bye')).toBe('BYE');
});

test('one that cannot listen is told, with the socket, and leaves nothing', async () => {
  const deep = { socket: relay.socket, path: join(directory, 'x'.repeat(120), 'kernel.sock') };
  await expect(relays().open([relay, deep])).rejects.toThrow(
    `a domain socket proxy cannot be opened: the relay to ${relay.socket} ended at once`,
  );
  expect(existsSync(relay.path)).toBe(false);
});
