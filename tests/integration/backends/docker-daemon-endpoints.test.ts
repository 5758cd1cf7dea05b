import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Request } from 'zeromq';
import { readInt } from '../../../src/agent-socket/protocol.js';
import { runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';

await describeWithEngine('a daemon with the docker backend', (engine) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await TestDaemon.start({ engine });
  }, 120_000);
  afterAll(() => daemon.dispose(), 60_000);

  const portOf = async (key: string): Promise<number> =>
    Number(new RegExp(`^${key} = (\\d+)$`, 'm').exec(await readFile(daemon.configPath, 'utf8'))?.[1]);
  const ask = async (endpoint: string) => {
    const client = new Request({ receiveTimeout: 20_000, linger: 0 });
    try {
      client.connect(endpoint);
      await client.send('is-jail-enabled');
      return (await client.receive()).map(readInt);
    } finally {
      client.close();
    }
  };

  test('opens one metadata server, one agent socket an agent and the debug socket, and takes them away again', async () => {
    const metadata = `http://127.0.0.1:${String(await portOf('metadata-server-port'))}/latest/meta-data/envs`;
    expect((await fetch(metadata)).status).toBe(403);
    const ipc = join(daemon.directory, 'ipc');
    const firstPort = await portOf('agent-sock-port');
    for (const [index, id] of daemon.agentIds.entries()) {
      expect(await ask(`ipc://${join(ipc, 'container', `agent.${id}.sock`)}`)).toEqual([0, 0]);
      expect(await ask(`tcp://127.0.0.1:${String(firstPort + index)}`)).toEqual([0, 0]);
    }
    const socket = join(ipc, 'agent-registry-snapshot.sock');
    const { out } = await runCommand(['debug', 'snapshot', '--socket', socket]);
    expect(JSON.parse(out)).toMatchObject({ 'i-one': { registry: {} }, 'i-two': { registry: {} } });
    expect(await daemon.stop()).toBe(0);
    await expect(fetch(metadata)).rejects.toThrow();
    expect(await readdir(ipc)).toEqual(['container']);
    expect(await readdir(join(ipc, 'container', 'agent.i-one'))).toEqual([]);
    await daemon.resume();
    expect(await ask(`ipc://${join(ipc, 'container', 'agent.i-one.sock')}`)).toEqual([0, 0]);
  }, 120_000);
});
