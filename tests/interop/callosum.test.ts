import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  generateKeyPair,
  Peer,
  readPublicKeyFile,
  readSecretKeyFile,
  UnknownMethodError,
  writeKeyFiles,
} from '../../src/callosum/index.js';
import type { BindOptions, IncomingCall } from '../../src/callosum/index.js';
import { CancelledError } from '../../src/core/errors.js';
import { msgpack, RecordedMetrics } from '../support/callosum.js';
import { PythonScript } from '../support/python.js';
import { CALLOSUM_PYTHON, describeRequiring } from '../support/requirements.js';

interface Outcome {
  readonly result?: unknown;
  readonly error?: {
    readonly type: string;
    readonly args: readonly string[];
    readonly name: string | null;
    readonly repr: string | null;
    readonly traceback: string | null;
  };
  readonly connection_error?: string;
}

const agentKeys = generateKeyPair();
const managerKeys = generateKeyPair();
const clientCurve = {
  server_public_key: agentKeys.publicKey,
  public_key: managerKeys.publicKey,
  secret_key: managerKeys.secretKey,
};
const serverCurve = {
  secretKey: agentKeys.secretKey,
  acceptedKeys: new Set([managerKeys.publicKey]),
};

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const aborted: string[] = [];

function serve({ method, body, signal }: IncomingCall): Promise<unknown> {
  switch (method) {
    case 'echo':
      return Promise.resolve(body);
    case 'fail':
      return Promise.reject(new RangeError(String(body)));
    case 'slow':
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(method);
          reject(new CancelledError('slow: gives in'));
        });
      });
    default:
      return Promise.reject(new UnknownMethodError(method));
  }
}

async function bind(options: Partial<BindOptions> = {}): Promise<Peer> {
  const peer = await Peer.bind({
    address: 'tcp://127.0.0.1:0',
    serializer: msgpack,
    handler: serve,
    ...options,
  });
  opened.push(() => peer.close());
  return peer;
}

async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `tcp://127.0.0.1:${String(port)}`;
}

describeRequiring(CALLOSUM_PYTHON, 'a Python client of our server', (python) => {
  async function callFrom(server: Peer, steps: unknown, more: object = {}): Promise<readonly Outcome[]> {
    const script = new PythonScript(python, 'callosum_client.py', {
      address: server.endpoint,
      steps,
      ...more,
    });
    return (await script.end()) as readonly Outcome[];
  }

  const mechanisms = [
    ['NULL', {}, {}],
    ['CURVE', { curve: serverCurve }, { curve: clientCurve }],
  ] as const;

  describe.each(mechanisms)('over %s', (_mechanism, ours, theirs) => {
    test('calls, with both empty order keys and a longer one', async () => {
      const server = await bind(ours);
      const body = { args: ['안녕', -1, 1.5, null, true], kwargs: { nested: { list: [1, [2]] } } };
      const keys = [null, '', 'session-1'];
      const outcomes = await callFrom(
        server,
        [keys.map((order_key) => ({ method: 'echo', body, order_key }))],
        theirs,
      );
      expect(outcomes).toEqual(keys.map(() => ({ result: body })));
    });

    test('calls a hundred times at once', async () => {
      const outcomes = await callFrom(
        await bind(ours),
        [[{ method: 'echo', body: 'x', repeat: 100 }]],
        theirs,
      );
      expect(outcomes).toEqual(Array.from({ length: 100 }, () => ({ result: 'x' })));
    });

    test('sees RPCUserError with name, repr and traceback for a failing call', async () => {
      const [outcome] = await callFrom(
        await bind(ours),
        [[{ method: 'fail', body: 'no such slot' }]],
        theirs,
      );
      expect(outcome?.error).toMatchObject({
        type: 'RPCUserError',
        name: 'ValueError',
        repr: "ValueError('no such slot')",
        traceback: 'Traceback (most recent call last):\nValueError: no such slot\n',
      });
    });

    test('sees RPCInternalError for an unknown method, and the next call is answered', async () => {
      const steps = [[{ method: 'health_v2' }], [{ method: 'echo', body: 1 }]];
      const [unknown, next] = await callFrom(await bind(ours), steps, theirs);
      expect(unknown?.error).toMatchObject({
        type: 'RPCInternalError',
        name: 'KeyError',
        repr: "KeyError('health_v2')",
      });
      expect(next).toEqual({ result: 1 });
    });

    test('cancels by its time limit, and the next call is answered', async () => {
      aborted.length = 0;
      const server = await bind(ours);
      const steps = [[{ method: 'slow', timeout: 0.2 }], [{ method: 'echo', body: 1 }]];
      const [timedOut, next] = await callFrom(server, steps, theirs);
      expect(timedOut?.error?.type).toBe('TimeoutError');
      expect(next).toEqual({ result: 1 });
      await server.close({ drainMs: 5000 });
      expect(aborted).toEqual(['slow']);
    });
  });

  test('with a wrong key sees AuthenticationError, and the server goes on', async () => {
    const metrics = new RecordedMetrics();
    const server = await bind({ curve: serverCurve, metrics });
    const stranger = generateKeyPair();
    const curve = { ...clientCurve, public_key: stranger.publicKey, secret_key: stranger.secretKey };
    await expect(callFrom(server, [], { curve, handshake_timeout: 5 })).resolves.toEqual([
      { connection_error: 'AuthenticationError' },
    ]);
    await metrics.until('callosum_handshake_failures_total', { reason: 'auth' }, (count) => count === 1);
    await expect(callFrom(server, [[{ method: 'echo', body: 1 }]], { curve: clientCurve })).resolves.toEqual([
      { result: 1 },
    ]);
  });

  test('without CURVE is refused by a server that demands it', async () => {
    const server = await bind({ curve: serverCurve });
    await expect(callFrom(server, [], { handshake_timeout: 0.5 })).resolves.toEqual([
      { connection_error: 'AuthenticationError' },
    ]);
  });
});

describeRequiring(CALLOSUM_PYTHON, 'our client of a Python server', (python) => {
  async function startServer(
    curve?: object,
  ): Promise<{ readonly address: string; readonly script: PythonScript }> {
    const address = await freeAddress();
    const script = new PythonScript(python, 'callosum_server.py', { address, ...(curve ? { curve } : {}) });
    opened.push(() => script.end());
    await expect(script.next()).resolves.toEqual({ ready: true });
    return { address, script };
  }

  const theirCurve = { secret_key: agentKeys.secretKey, client_public_key: managerKeys.publicKey };
  const ourCurve = { curve: { ...managerKeys, serverPublicKey: agentKeys.publicKey } };

  describe.each([
    ['NULL', undefined, {}],
    ['CURVE', theirCurve, ourCurve],
  ] as const)('over %s', (_mechanism, theirs, ours) => {
    test('calls, and both empty order keys arrive with their own type', async () => {
      const { address, script } = await startServer(theirs);
      const client = await Peer.connect({ address, serializer: msgpack, ...ours });
      opened.push(() => client.close());
      const body = { args: ['x'], kwargs: { n: 1 } };
      await expect(client.invoke('echo', body, { orderKey: 'text' })).resolves.toEqual(body);
      await expect(client.invoke('echo', body, { orderKey: 'binary' })).resolves.toEqual(body);
      await expect(client.invoke('echo', body, { orderKey: Buffer.of(1) })).resolves.toEqual(body);
      expect([await script.next(), await script.next(), await script.next()]).toMatchObject([
        { order_key: '' },
        { order_key: { bytes: '' } },
        { order_key: { bytes: '01' } },
      ]);
    });

    test('sees a failure as RemoteUserError with the Python traceback', async () => {
      const { address } = await startServer(theirs);
      const client = await Peer.connect({ address, serializer: msgpack, ...ours });
      opened.push(() => client.close());
      await expect(client.invoke('fail', 'oops')).rejects.toMatchObject({
        code: 'REMOTE_FAILURE',
        remoteName: 'ValueError',
        remoteRepr: "ValueError('oops')",
        remoteTraceback: expect.stringContaining('Traceback (most recent call last)'),
      });
    });
  });

  test('calls a hundred times at once', async () => {
    const { address } = await startServer();
    const client = await Peer.connect({ address, serializer: msgpack });
    opened.push(() => client.close());
    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => client.invoke('echo', i)));
    expect(results).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test('that gives up on a call can still make the next one', async () => {
    const { address } = await startServer();
    const client = await Peer.connect({ address, serializer: msgpack });
    opened.push(() => client.close());
    await expect(client.invoke('slow', 0.3, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(client.invoke('echo', 1)).resolves.toBe(1);
  });

  test('with a key that the server does not know is refused', async () => {
    const { address } = await startServer(theirCurve);
    const curve = { ...generateKeyPair(), serverPublicKey: agentKeys.publicKey };
    await expect(Peer.connect({ address, serializer: msgpack, curve })).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
      message: expect.stringContaining('refused our public key'),
    });
  });
});

describeRequiring(CALLOSUM_PYTHON, 'key files', (python) => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'splenium-keys-'));
    opened.push(() => rm(directory, { recursive: true, force: true }));
  });

  const runScript = async (input: unknown) => (await new PythonScript(python, 'zmq_keys.py', input).end())[0];

  test('written by pyzmq are read by us, once their mode is safe', async () => {
    const files = (await runScript({ create: [directory, 'manager'] })) as {
      readonly public_file: string;
      readonly secret_file: string;
    };
    await chmod(files.secret_file, 0o644);
    await expect(readSecretKeyFile(files.secret_file)).rejects.toMatchObject({ code: 'KEY_FILE_MODE' });
    await chmod(files.secret_file, 0o600);
    const pair = await readSecretKeyFile(files.secret_file);
    await expect(readPublicKeyFile(files.public_file)).resolves.toBe(pair.publicKey);
    await expect(runScript({ load: files.secret_file })).resolves.toEqual({
      public_key: pair.publicKey,
      secret_key: pair.secretKey,
    });
  });

  test('written by us are read by pyzmq', async () => {
    const pair = generateKeyPair();
    const files = await writeKeyFiles(directory, 'agent', pair);
    await expect(runScript({ load: files.secretFile })).resolves.toEqual({
      public_key: pair.publicKey,
      secret_key: pair.secretKey,
    });
    await expect(runScript({ load: files.publicFile })).resolves.toEqual({
      public_key: pair.publicKey,
      secret_key: null,
    });
  });

  test('of both kinds open a CURVE connection', async () => {
    const agent = await writeKeyFiles(directory, 'agent', agentKeys);
    const { secret_file, public_file } = (await runScript({ create: [directory, 'manager'] })) as {
      readonly public_file: string;
      readonly secret_file: string;
    };
    const accepted = await readPublicKeyFile(public_file);
    const server = await bind({ curve: { ...serverCurve, acceptedKeys: new Set([accepted]) } });
    const script = new PythonScript(python, 'callosum_client.py', {
      address: server.endpoint,
      curve: { server_key_file: agent.publicFile, key_file: secret_file },
      steps: [[{ method: 'echo', body: 'hello' }]],
    });
    await expect(script.end()).resolves.toEqual([{ result: 'hello' }]);
  });
});
