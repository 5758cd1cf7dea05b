import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';
import { NEVER } from '../agent/agent-bench.js';
import { eventually } from '../../support/eventually.js';

const MIB = 1024n * 1024n;
const LOG_LIMITS = { chunkBytes: 1024, maxBytes: 4096 };
const START = 'POST /containers/ID/start';
/** Two servers in one process, each of which says where it listens. */
const PAIR = `
for (const port of process.argv.slice(1))
  require('node:http').createServer((_, answer) => answer.end(port)).listen(+port, '0.0.0.0');
`;

await describeWithEngine('kernels of an agent on a real engine', (engine) => {
  let volume: string;
  let on: EngineBench;
  const listeners: Server[] = [];
  /** What was kept of containers that have ended. */
  const logs = new Map<string, readonly Uint8Array[]>();
  beforeAll(async () => {
    const definition = {
      command: ['/opt/splenium/bin/node', '-e', PAIR, '{ports[0]}', '{ports[1]}'],
    };
    const files = { '/etc/backend.ai/service-defs/pair.json': { text: JSON.stringify(definition) } };
    await engine.importImage(await busyboxRoot({ files }), BUSYBOX_IMAGE);
    volume = await runnerVolumeOf(engine);
  }, 120_000);
  beforeEach(async () => {
    on = await EngineBench.start(engine, volume, {
      logs: {
        ...LOG_LIMITS,
        store: ({ containerId }, chunks) => {
          logs.set(containerId, chunks);
          return Promise.resolve('stored');
        },
      },
    });
  });
  afterEach(async () => {
    for (const listener of listeners.splice(0)) listener.close();
    await on.stop();
  }, 120_000);

  /** Another program of this machine takes the ports, as soon as nobody has them. */
  const occupy = async (ports: readonly number[]) => {
    for (const port of ports) {
      const server = createServer();
      listeners.push(server);
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    }
  };
  const portsOf = ({ kernelId }: KernelCreationRequest) => {
    const ports = on.agent.kernels.get(kernelId).ports?.booked;
    if (ports === undefined) throw new Error('the kernel has no ports');
    return ports;
  };
  /** What a restart must not change; the engine gives names, addresses and times anew. */
  const lastingOf = async (request: KernelCreationRequest) => {
    const { Config, HostConfig, NetworkSettings, Name } = await on.inspect(request);
    const { Labels, Env, Cmd, Entrypoint, ExposedPorts, Hostname, Image, User, WorkingDir } = Config;
    const networks = Object.entries(NetworkSettings.Networks).map(([name, { Aliases }]) => [
      name,
      // The engine adds the container's short id.
      ((Aliases as string[] | null) ?? []).filter((alias) => !/^[0-9a-f]{12}$/.test(alias)),
    ]);
    return {
      ...{
        Name,
        Labels,
        Env: [...Env].sort(),
        Cmd,
        Entrypoint,
        ExposedPorts,
        Hostname,
        Image,
        User,
        WorkingDir,
      },
      HostConfig,
      published: NetworkSettings.Ports,
      networks,
    };
  };

  test('a restart keeps limits, owners, labels, ports and networks', async () => {
    await on.agent.createLocalNetwork('bai-restart');
    try {
      const request = busyboxRequest({
        config: {
          resourceSlots: { cpu: '1', mem: String(256n * MIB) },
          ownerUserId: '22222222-2222-4222-8222-222222222222',
          ownerProjectId: '33333333-3333-4333-8333-333333333333',
        },
        labels: { 'ai.backend.service-ports': 'jupyter:http:8070' },
      });
      const made = await on.create({
        ...request,
        cluster: { ...request.cluster, networkConfig: { mode: 'bridge', network_name: 'bai-restart' } },
      });
      const before = await lastingOf(request);
      expect(before.HostConfig).toMatchObject({
        CpusetCpus: expect.stringMatching(/^\d+$/) as unknown,
        Memory: expect.any(Number) as unknown,
        MemorySwap: before.HostConfig.Memory,
        NetworkMode: 'bai-restart',
      });
      expect(before.HostConfig.Memory).toBeGreaterThan(0);
      expect(before.Labels).toMatchObject({
        'ai.backend.owner': on.agent.id,
        'ai.backend.kernel-id': request.kernelId,
        'ai.backend.session-id': request.sessionId,
        'ai.backend.owner-user-id': '22222222-2222-4222-8222-222222222222',
        'ai.backend.owner-project-id': '33333333-3333-4333-8333-333333333333',
      });
      expect(before.networks).toEqual([['bai-restart', expect.arrayContaining(['main1'])]]);
      const result = await on.restart(request);
      expect(result.containerId).not.toBe(made.containerId);
      expect(await lastingOf(request)).toEqual(before);
      expect(result).toMatchObject({ replInPort: made.replInPort, replOutPort: made.replOutPort });
      await on.destroy(request);
    } finally {
      await on.agent.destroyLocalNetwork('bai-restart');
    }
  }, 120_000);

  test('a service with two ports has a host port for each, answers on both and gives both back', async () => {
    const request = busyboxRequest({ labels: { 'ai.backend.service-ports': 'pair:http:[8081,8082]' } });
    const { servicePorts } = await on.create(request);
    const pair = servicePorts.find(({ name }) => name === 'pair');
    expect(pair).toMatchObject({ protocol: 'http', containerPorts: [8081, 8082] });
    const [one, other] = (pair?.hostPorts ?? []).map(Number) as [number, number];
    expect(new Set([one, other]).size).toBe(2);
    const { HostConfig, NetworkSettings } = await on.inspect(request);
    for (const [inside, outside] of [
      ['8081/tcp', one],
      ['8082/tcp', other],
    ] as const) {
      const binding = expect.objectContaining({ HostPort: String(outside) }) as unknown;
      expect(HostConfig.PortBindings).toMatchObject({ [inside]: [binding] });
      expect(NetworkSettings.Ports[inside]).toContainEqual(binding);
    }
    expect(portsOf(request)).toEqual(expect.arrayContaining([one, other]));
    expect(await on.agent.startService(request.kernelId, 'pair', {}, NEVER)).toMatchObject({
      status: 'started',
    });
    const answerOf = async (port: number) => (await fetch(`http://127.0.0.1:${String(port)}/`)).text();
    await eventually(async () => {
      expect([await answerOf(one), await answerOf(other)]).toEqual(['8081', '8082']);
    });
    await on.destroy(request);
    expect(on.bench.pools.flatMap((pool) => [...pool.holders()])).toEqual([]);
    const [pool] = on.bench.pools;
    expect(pool?.freeCount).toBe(pool?.capacity);
  }, 120_000);

  test('a host port that another program takes between its reservation and its publication costs no kernel', async () => {
    const request = busyboxRequest({ labels: { 'ai.backend.service-ports': 'jupyter:http:8070' } });
    const hang = on.proxy.hang(START);
    const creation = on.create(request);
    await hang.entered;
    const reserved = portsOf(request);
    await occupy([reserved[1] ?? 0]);
    hang.release();
    const { replInPort, replOutPort } = await creation;
    expect(replInPort).toBe(reserved[0]);
    expect(reserved).not.toContain(replOutPort);
    const { HostConfig } = await on.inspect(request);
    expect(HostConfig.PortBindings).toMatchObject({
      '2001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(replOutPort) }],
    });
    expect(portsOf(request)).not.toContain(reserved[1]);
    expect(on.bench.events.named('kernel_terminated')).toEqual([]);
    // The books agree with the engine, and the runner answers over the new port.
    expect(on.agent.examine()).toEqual([]);
    expect(await on.agent.pingKernel(request.kernelId, NEVER)).not.toBeNull();
    await on.destroy(request);
  }, 120_000);

  test('a restart whose old port is taken meanwhile goes on with another one', async () => {
    const request = busyboxRequest();
    const { replInPort } = await on.create(request);
    const hang = on.proxy.hang(START);
    const restarting = on.restart(request);
    await hang.entered;
    await occupy([replInPort]);
    hang.release();
    const answer = await restarting;
    expect(answer.replInPort).not.toBe(replInPort);
    expect(on.agent.isRunning(request.kernelId)).toBe(true);
    await on.destroy(request);
  }, 120_000);

  test('the end of what a kernel has written is kept in bounded pieces when it ends', async () => {
    const request = busyboxRequest();
    await on.create(request);
    const write = 'seq 1 2000 > /proc/1/fd/1; sleep 600 > /dev/null & wait';
    const { Id } = await on.inspect(request);
    const run = await engine.docker.getContainer(Id).exec({ Cmd: ['sh', '-c', write] });
    await run.start({ Detach: true });
    await eventually(async () => {
      expect(await on.agent.logs(request.kernelId)).toMatch(/\n2000\s*$/);
    });
    await on.destroy(request);
    const chunks = logs.get(Id) ?? [];
    expect(chunks.length).toBeGreaterThan(1);
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(LOG_LIMITS.chunkBytes);
    const text = Buffer.concat(chunks).toString();
    expect(text.length).toBeLessThanOrEqual(LOG_LIMITS.maxBytes);
    expect(text).toMatch(/\n1999\s+2000\s*$/);
  }, 120_000);

  test('a program that takes every port that is tried makes the creation fail, and nothing is left', async () => {
    const request = busyboxRequest();
    const creation = on.create(request);
    creation.catch(() => undefined);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const hang = on.proxy.hang(START);
      await hang.entered;
      await occupy([portsOf(request)[0] ?? 0]);
      hang.release();
    }
    await expect(creation).rejects.toThrow(/in use|allocated/);
    expect(on.bench.events.named('kernel_terminated')).toMatchObject([{ reason: 'failed-to-create' }]);
  }, 120_000);
});
