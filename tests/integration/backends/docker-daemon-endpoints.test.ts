import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Request } from 'zeromq';
import { readInt } from '../../../src/agent-socket/protocol.js';
import { kernelCreationArguments } from '../../../src/client/kernel-spec.js';
import { runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';

/** Asks the agent's socket with what the runner's volume has: pid 1 there and back, and the asking process itself. */
const CLIENT = (containerId: string, hostPid: number): string => `
const { createRequire } = require('node:module');
const { Request } = createRequire('/opt/splenium/kernel-runner.mjs')('zeromq');
const int = (value) => { const part = Buffer.alloc(4); part.writeInt32LE(value); return part; };
const client = new Request({ receiveTimeout: 20000, linger: 0 });
client.connect('ipc:///opt/kernel/agent.sock');
const ask = async (action, pid) => {
  await client.send([action, ${JSON.stringify(containerId)}, int(pid)]);
  return (await client.receive()).map((part) => part.readInt32LE());
};
const answers = [
  await ask('container-pid-to-host-pid', 1),
  await ask('host-pid-to-container-pid', ${String(hostPid)}),
];
const [, outside] = await ask('container-pid-to-host-pid', process.pid);
const [, inside] = await ask('host-pid-to-container-pid', outside);
client.close();
console.log(JSON.stringify([...answers, [process.pid, inside]]));
`;

await describeWithEngine('a daemon with the docker backend', (engine) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    daemon = await TestDaemon.start({ engine });
  }, 120_000);
  afterEach(() => expectNoRemainsOf(daemon), 60_000);
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

  test('a program in a kernel reaches its agent, which knows its processes, and the sockets that the session has', async () => {
    const greeting = join(daemon.directory, 'greeting.sock');
    const server = createServer((socket) => socket.end('from the machine'));
    server.listen(greeting);
    await once(server, 'listening');
    const kernel = { kernelId: randomUUID(), sessionId: randomUUID() };
    let client = daemon.client('i-two');
    try {
      const args = kernelCreationArguments({
        ...kernel,
        image: `localhost/${BUSYBOX_IMAGE}`,
        labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'node' },
        resourceSlots: { cpu: '1', mem: String(256 * 1024 * 1024) },
      });
      const [created] = await client.call('create_kernels', {
        ...args,
        raw_configs: args.raw_configs.map((config) => ({
          ...config,
          internal_data: { domain_socket_proxies: [greeting] },
        })),
      });
      const containerId = created?.container_id ?? '';
      const run = async (code: string): Promise<unknown> => {
        let output = '';
        for await (const event of client.run({ ...kernel, code }))
          if (event.type === 'stdout' || event.type === 'stderr') output += event.text;
        try {
          return JSON.parse(output);
        } catch {
          throw new Error(output);
        }
      };
      const { State } = await engine.docker.getContainer(containerId).inspect();
      const own = async (): Promise<readonly (readonly number[])[]> =>
        (await run(CLIENT(containerId, State.Pid))) as number[][];
      const [hostPid, innerPid, roundTrip] = await own();
      expect(hostPid).toEqual([0, State.Pid]);
      expect(innerPid).toEqual([0, 1]);
      // The asking process itself, there and back.
      expect(roundTrip?.[0]).toBe(roundTrip?.[1]);
      const relayed = `require('node:net').connect(${JSON.stringify(greeting)}).on('data', (text) => console.log(JSON.stringify(String(text))))`;
      expect(await run(`await new Promise((done) => ${relayed}.on('end', done))`)).toBe('from the machine');
      // The kernel goes on while its daemon is replaced, and so do its ways out.
      await client.close();
      await daemon.kill();
      await daemon.resume();
      client = daemon.client('i-two');
      expect((await own())[0]).toEqual([0, State.Pid]);
      expect(await run(`await new Promise((done) => ${relayed}.on('end', done))`)).toBe('from the machine');
    } finally {
      await client.destroyKernel(kernel);
      await client.close();
      server.close();
    }
  }, 180_000);
});
