import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSnapshotSocket } from '../../../src/daemon/local.js';
import { AgentRuntime } from '../../../src/runtime/agent-runtime.js';
import { StateDirectory } from '../../../src/runtime/state-directory.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { load } from '../../unit/config/config-file.js';

describe('the debug socket of the docker backend, whose place all daemons of a machine share', () => {
  let directory: string;
  let state: StateDirectory;
  let runtime: AgentRuntime;
  let log: RecordedLog;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'splenium-nb-'));
    log = new RecordedLog();
    state = await StateDirectory.open(join(directory, 'state'), log);
    runtime = await AgentRuntime.create({
      agents: [new FakeAgent('i-one').factory()],
      startFailure: 'abort',
      logger: log,
    });
  });
  afterEach(async () => {
    await runtime.stop();
    await state.close();
    await rm(directory, { recursive: true });
  });

  const open = async () => {
    const { config } = await load('[agent]\nbackend = "docker"\nrpc-listen-addr = "127.0.0.1:6001"\n');
    return openSnapshotSocket({
      config: { ...config, paths: { ...config.paths, ipcBase: directory } },
      state,
      runtime,
      logger: log,
    });
  };

  test('is where the original has it', async () => {
    const opened = await open();
    expect(opened?.path).toBe(join(directory, 'agent-registry-snapshot.sock'));
    await opened?.close();
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test('is in the state directory while another daemon serves it there', async () => {
    const other: Server = createServer();
    await new Promise<void>((resolve) =>
      other.listen(join(directory, 'agent-registry-snapshot.sock'), resolve),
    );
    try {
      const opened = await open();
      expect(opened?.path).toBe(join(directory, 'state', 'sockets', 'agent-registry-snapshot.sock'));
      await opened?.close();
      expect(log.lines.map(({ message }) => message)).toContain(
        'the debug socket is in the state directory, not where the original has it',
      );
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });
});
