import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SnapshotSocket } from '../../../src/observe/index.js';
import { RecordedLog } from '../../support/recorded-log.js';

describe('debug socket', () => {
  let directory: string;
  let path: string;
  let log: RecordedLog;
  let socket: SnapshotSocket | undefined;
  const read = async (send = '') => {
    const client = connect(path).setEncoding('utf8');
    if (send !== '') client.write(send);
    let text = '';
    for await (const chunk of client) text += String(chunk);
    return text;
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'spl-ss-'));
    path = join(directory, 'snapshot.sock');
    log = new RecordedLog();
    socket = undefined;
  });
  afterEach(async () => {
    await socket?.close();
    await rm(directory, { recursive: true, force: true });
  });

  test('whoever connects gets the document of the moment, for its owner only', async () => {
    let count = 0;
    const text = () => `{"count": ${String((count += 1))}, "long": "${'x'.repeat(1_000_000)}"}`;
    socket = await SnapshotSocket.open({ path, text, logger: log });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await read())).toMatchObject({ count: 1 });
    expect(JSON.parse(await read('what is this?'))).toMatchObject({ count: 2 });
    expect(await readdir(directory)).toEqual(['snapshot.sock']);
    await socket.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test('nothing to say is a connection that ends without data', async () => {
    socket = await SnapshotSocket.open({ path, text: () => '', logger: log });
    expect(await read()).toBe('');
  });

  test('a document that cannot be made ends the connection, not the socket', async () => {
    let isBroken = true;
    const text = () => {
      if (isBroken) throw new Error('broken');
      return 'whole';
    };
    socket = await SnapshotSocket.open({ path, text, logger: log });
    expect(await read().catch(() => '')).toBe('');
    expect(log.lines.map(({ message }) => message)).toEqual(['the debug snapshot could not be made']);
    isBroken = false;
    expect(await read()).toBe('whole');
  });

  test('what a daemon that is gone has left is replaced', async () => {
    await writeFile(path, '');
    socket = await SnapshotSocket.open({ path, text: () => 'new', logger: log });
    expect(await read()).toBe('new');
  });

  test('a socket that another daemon serves is left to it', async () => {
    const other = createServer((client) => {
      client.on('error', () => undefined);
      client.end('theirs');
    });
    await new Promise<void>((resolve) => other.listen(path, resolve));
    await expect(SnapshotSocket.open({ path, text: () => '', logger: log })).rejects.toMatchObject({
      code: 'SNAPSHOT_SOCKET_FAILED',
      message: expect.stringContaining('another daemon serves it'),
    });
    expect(await read()).toBe('theirs');
    await new Promise((resolve) => other.close(resolve));
  });

  test('a directory that is not there and a path that is too long are errors that name the path', async () => {
    for (const bad of [join(directory, 'none', 's'), join(directory, 'x'.repeat(120))])
      await expect(SnapshotSocket.open({ path: bad, text: () => '', logger: log })).rejects.toMatchObject({
        code: 'SNAPSHOT_SOCKET_FAILED',
        message: expect.stringContaining(bad),
      });
  });
});
