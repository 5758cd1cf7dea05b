import { execFile } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Dealer, Request } from 'zeromq';
import { AgentSocket, type AgentSocketOptions } from '../../../src/agent-socket/agent-socket.js';
import { intPart, readInt } from '../../../src/agent-socket/protocol.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { freePort } from '../../support/free-port.js';
import { RecordedLog } from '../../support/recorded-log.js';

const ID = 'ab'.repeat(32);
const AGENT = parseAgentId('i-one');
const run = promisify(execFile);

describe('agent socket', () => {
  let directory: string;
  let log: RecordedLog;
  let sockets: AgentSocket[];

  const open = async (changes: Partial<AgentSocketOptions> = {}) => {
    const socket = await AgentSocket.open({
      agentId: AGENT,
      directory,
      tcpPort: null,
      findContainer: (id) => (ID.startsWith(id) ? ID : null),
      pids: {
        toContainer: (_, pid) => Promise.resolve(pid === 4711 ? 1 : -2),
        toHost: (_, pid) => (pid === 1 ? Promise.resolve(4711) : Promise.reject(new Error('no /proc'))),
      },
      isJailEnabled: true,
      logger: log,
      ...changes,
    });
    sockets.push(socket);
    return socket;
  };
  const path = () => join(directory, 'agent.i-one.sock');
  const ask = async (endpoint: string, ...parts: readonly (string | Uint8Array)[]) => {
    const client = new Request({ receiveTimeout: 20_000, linger: 0 });
    try {
      client.connect(endpoint);
      await client.send([...parts]);
      return await client.receive();
    } finally {
      client.close();
    }
  };
  const numbers = async (...question: Parameters<typeof ask>) => (await ask(...question)).map(readInt);

  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'spl-as-')), 'container');
    log = new RecordedLog();
    sockets = [];
  });
  afterEach(async () => {
    for (const socket of sockets) await socket.close();
    await rm(join(directory, '..'), { recursive: true, force: true });
  });

  test('a REQ client gets pids translated, by the usual name of the socket and over TCP', async () => {
    const port = await freePort();
    await open({ tcpPort: port });
    for (const endpoint of [`ipc://${path()}`, `tcp://127.0.0.1:${String(port)}`]) {
      expect(await numbers(endpoint, 'host-pid-to-container-pid', ID, intPart(4711))).toEqual([0, 1]);
      expect(await numbers(endpoint, 'host-pid-to-container-pid', ID.slice(0, 12), intPart(9))).toEqual([
        0, -2,
      ]);
      expect(await numbers(endpoint, 'container-pid-to-host-pid', ID, intPart(1))).toEqual([0, 4711]);
      expect(await numbers(endpoint, 'is-jail-enabled')).toEqual([0, 1]);
    }
  });

  test('an unknown action, a container of somebody else and a failure are answered, and the next question too', async () => {
    await open();
    const endpoint = `ipc://${path()}`;
    const status = async (...parts: readonly (string | Uint8Array)[]) => {
      const [first] = await ask(endpoint, ...parts);
      return readInt(first ?? Buffer.alloc(4));
    };
    expect(await status('reboot')).toBe(-2);
    expect(await status('host-pid-to-container-pid', 'cd'.repeat(32), intPart(4711))).toBe(-1);
    expect(await status('container-pid-to-host-pid', ID, intPart(2))).toBe(-1);
    expect(await status('container-pid-to-host-pid', ID)).toBe(-1);
    expect(await numbers(endpoint, 'is-jail-enabled')).toEqual([0, 1]);
  });

  test('clients that break the pattern or leave before the answer keep nobody from theirs', async () => {
    const { path: own } = await open();
    const endpoint = `ipc://${own}`;
    const rude = new Dealer({ linger: 1000 });
    rude.connect(endpoint);
    for (let index = 0; index < 50; index += 1) await rude.send('is-jail-enabled');
    await rude.send(['', 'is-jail-enabled']);
    rude.close();
    const large = new Request({ linger: 0 });
    large.connect(endpoint);
    await large.send(Buffer.alloc(1_000_000));
    expect(await numbers(endpoint, 'is-jail-enabled')).toEqual([0, 1]);
    large.close();
  });

  test('after a restart it is in the same directory, and a client that waited is answered', async () => {
    const first = await open();
    const inner = join(directory, 'agent.i-one');
    const { ino } = await stat(inner);
    const client = new Request({ receiveTimeout: 20_000, linger: 0, reconnectInterval: 20 });
    try {
      client.connect(`ipc://${join(inner, 'agent.sock')}`);
      await client.send('is-jail-enabled');
      await client.receive();
      await first.close();
      expect(await readdir(inner)).toEqual([]);
      await client.send('is-jail-enabled');
      await open({ isJailEnabled: false });
      expect((await client.receive()).map(readInt)).toEqual([0, 0]);
    } finally {
      client.close();
    }
    expect((await stat(inner)).ino).toBe(ino);
    expect(await readlink(path())).toBe('agent.i-one/agent.sock');
  });

  test('kernels of any user may connect, users of this machine do not get to the socket', async () => {
    const { path: own } = await open();
    const modes = await Promise.all(
      [directory, join(directory, 'agent.i-one'), own].map((each) => stat(each)),
    );
    expect(modes.map(({ mode }) => mode & 0o777)).toEqual([0o700, 0o755, 0o666]);
  });

  test('a socket that a daemon which was killed has left is replaced', async () => {
    const script =
      "const{Reply}=await import('zeromq');const s=new Reply();await s.bind(process.argv[1]);process.kill(process.pid,'SIGKILL')";
    await mkdir(join(directory, 'agent.i-one'), { recursive: true });
    const left = join(directory, 'agent.i-one', 'agent.sock');
    await run(process.execPath, ['--input-type=module', '-e', script, `ipc://${left}`]).catch(
      () => undefined,
    );
    expect((await lstat(left)).isSocket()).toBe(true);
    await open();
    expect(await numbers(`ipc://${left}`, 'is-jail-enabled')).toEqual([0, 1]);
  });

  test('a socket that another daemon serves is left to it, and one whose port is taken leaves nothing', async () => {
    const port = await freePort();
    const { path: served } = await open({ tcpPort: port });
    await expect(open()).rejects.toMatchObject({
      code: 'AGENT_SOCKET_FAILED',
      message: expect.stringContaining('another daemon serves the socket'),
    });
    expect(await numbers(`ipc://${served}`, 'is-jail-enabled')).toEqual([0, 1]);
    await expect(open({ agentId: parseAgentId('i-two'), tcpPort: port })).rejects.toThrow(
      'agent.agent-sock-port',
    );
    expect(await readdir(join(directory, 'agent.i-two'))).toEqual([]);
    expect(await numbers(`tcp://127.0.0.1:${String(port)}`, 'is-jail-enabled')).toEqual([0, 1]);
  });

  test('what another program has put under the usual name stays, with a word in the log', async () => {
    await mkdir(directory);
    await writeFile(path(), 'theirs');
    await open();
    expect((await lstat(path())).isFile()).toBe(true);
    expect(log.lines.map(({ message }) => message)).toEqual([
      'another program has made the agent socket: it stays as it is',
    ]);
  });

  test('a port that is taken and a path that is too long are errors that name the key', async () => {
    const taken = createServer();
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => {
        const address = taken.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    await expect(open({ tcpPort: port })).rejects.toMatchObject({
      code: 'AGENT_SOCKET_FAILED',
      message: expect.stringContaining('agent.agent-sock-port'),
    });
    taken.close();
    await expect(open({ directory: join(directory, 'x'.repeat(100)) })).rejects.toMatchObject({
      code: 'AGENT_SOCKET_FAILED',
      message: expect.stringContaining('agent.ipc-base-path'),
    });
  });
});
