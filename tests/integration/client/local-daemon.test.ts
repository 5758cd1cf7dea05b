import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { generateKeyPair, writeKeyFiles } from '../../../src/callosum/index.js';
import { AgentClient } from '../../../src/client/agent-client.js';
import { ConnectionPool } from '../../../src/client/connection-pool.js';
import { findLocalDaemon } from '../../../src/client/local-daemon.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Dispatcher } from '../../../src/rpc/dispatcher.js';
import { AgentRPCServer } from '../../../src/rpc/server.js';
import { AgentRuntime } from '../../../src/runtime/agent-runtime.js';
import { StateDirectory } from '../../../src/runtime/state-directory.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { HEALTH, PATIENT_HANDSHAKE_MS } from '../../support/rpc-server.js';

let path: string;
const opened: { close(): Promise<void> }[] = [];
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'splenium-local-'));
});
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
  await rm(path, { recursive: true, force: true });
});

/** A daemon as far as local programs can tell, with keys. */
async function startDaemon(): Promise<StateDirectory> {
  const state = await StateDirectory.open(path, silentLogger);
  opened.push(state);
  const [serverKeys, operatorKeys] = [generateKeyPair(), generateKeyPair()];
  const { operatorKeyFile } = state.layout;
  await writeKeyFiles(dirname(operatorKeyFile), basename(operatorKeyFile, '.key_secret'), operatorKeys);
  const agents = await AgentRuntime.create({
    agents: [new FakeAgent('i-one').factory()],
    startFailure: 'abort',
    logger: silentLogger,
  });
  const server = await AgentRPCServer.open({
    address: 'tcp://127.0.0.1:0',
    curve: { secretKey: serverKeys.secretKey, acceptedKeys: new Set([operatorKeys.publicKey]) },
    dispatcher: new Dispatcher({
      managerVersion: '25.17',
      node: { agents, health: () => HEALTH, examine: () => Promise.resolve([]), abuseReportPath: null },
    }),
  });
  opened.push({ close: () => server.close({ drainMs: 0 }) });
  await state.publishEndpoint({
    rpcAddress: server.endpoint,
    serverPublicKey: serverKeys.publicKey,
    httpUrl: null,
  });
  return state;
}

test('a local program finds the daemon by its state directory and speaks to it as its operator', async () => {
  await startDaemon();
  const daemon = await findLocalDaemon(path);
  expect(daemon).toMatchObject({ pid: process.pid, httpUrl: null });
  const pool = new ConnectionPool({ handshakeTimeoutMs: PATIENT_HANDSHAKE_MS });
  opened.push(pool);
  const client = new AgentClient({ ...daemon.target, pool });
  await expect(client.ping('hello')).resolves.toBe('hello');
});

test('an operator key that others can read is refused', async () => {
  const { layout } = await startDaemon();
  await chmod(layout.operatorKeyFile, 0o644);
  await expect(findLocalDaemon(path)).rejects.toMatchObject({ code: 'KEY_FILE_MODE' });
});

test.each<[string, string | null, string]>([
  ['where no daemon serves', null, 'no daemon serves from it'],
  ['whose endpoint file is damaged', '{"version":9}', 'cannot be used'],
])('a directory %s is named in the error', async (_what, content, why) => {
  if (content !== null) await writeFile(join(path, 'endpoint.json'), content);
  await expect(findLocalDaemon(path)).rejects.toMatchObject({
    code: 'LOCAL_DAEMON_NOT_FOUND',
    message: expect.stringMatching(new RegExp(`${path}.*${why}`)),
  });
});

test('after the daemon has closed there is nothing to find', async () => {
  const state = await startDaemon();
  await state.close();
  await expect(findLocalDaemon(path)).rejects.toMatchObject({ code: 'LOCAL_DAEMON_NOT_FOUND' });
});
