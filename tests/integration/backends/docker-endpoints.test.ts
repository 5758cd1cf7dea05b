import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentSocket } from '../../../src/agent-socket/agent-socket.js';
import { ContainerPids } from '../../../src/agent-socket/container-pids.js';
import type { KernelBackend, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { parseAgentId, type AgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { AggregateKernelRegistry } from '../../../src/kernels/aggregate-kernel-registry.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { readEnvironment } from '../../../src/metadata/environment-file.js';
import { MetadataServer } from '../../../src/metadata/metadata-server.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const NEVER = new AbortController().signal;
const NETWORK = 'splenium-endpoints';
const AGENTS = ['i-one', 'i-two'].map(parseAgentId) as [AgentId, AgentId];

/** Asks the agent's socket from inside of a kernel, with what the runner's volume has: Node.js and zeromq. */
const CLIENT = `
const { createRequire } = require('node:module');
const { Request } = createRequire('/opt/splenium/kernel-runner.mjs')('zeromq');
const int = (value) => { const part = Buffer.alloc(4); part.writeInt32LE(value); return part; };
(async () => {
  const client = new Request({ receiveTimeout: 20000, linger: 0 });
  client.connect('ipc:///opt/kernel/agent.sock');
  for (const question of JSON.parse(process.argv[2])) {
    await client.send(question.map((part) => typeof part === 'number' ? int(part) : part));
    console.log((await client.receive()).map((part) => part.length === 4 ? part.readInt32LE() : String(part)).join(' '));
  }
  client.close();
})();
`;

/** Reads paths from a base URL, claiming in every header there is to be somebody else. Busybox' wget needs a C library's files. */
const READER = `
const [base, other, ...paths] = process.argv.slice(1);
(async () => {
  const headers = { 'x-forwarded-for': '127.0.0.1', 'x-kernel-id': other };
  const answers = [];
  for (const path of paths) {
    const response = await fetch(base + path, { headers });
    answers.push([response.status, await response.text()]);
  }
  console.log(JSON.stringify(answers));
})();
`;

await describeWithEngine('what kernels in containers may ask', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;
  let kernels: AggregateKernelRegistry;
  let registries: Map<AgentId, KernelRegistry>;
  let root: string;
  const plans = new Map<string, KernelPlan>();

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    volume = (
      await buildRunnerVolume({
        root: join(engine.directory, 'volumes'),
        runnerPath: STUB_RUNNER,
        entrypointPath: await bundleEntrypoint(engine.directory),
      })
    ).directory;
    await engine.docker.createNetwork({ Name: NETWORK, Driver: 'bridge' });
  }, 120_000);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spl-de-'));
    harness = await DockerBackendHarness.make({ engine, volume });
    backend = await harness.open({ agentSockets: join(root, 'container') });
    kernels = new AggregateKernelRegistry();
    registries = new Map(AGENTS.map((id) => [id, new KernelRegistry(id)]));
    for (const registry of registries.values()) kernels.attach(registry);
  });
  afterEach(async () => {
    await harness[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  const start = async (agentId: AgentId, network: string | null): Promise<KernelHandle> => {
    const plan: KernelPlan = {
      ...(await harness.plan({ agentId })),
      ...(network === null
        ? {}
        : { network: { mode: 'named', name: network, aliases: [`k${randomUUID()}`] } }),
    };
    await writeFile(join(plan.scratch.config, 'environ.txt'), `KERNEL=${plan.kernelId}\nAPI_KEY=hidden\n`);
    plans.set(plan.kernelId, plan);
    const handle = await backend.create(plan, NEVER);
    const kernel = Kernel.requested(agentId, kernelRequest({ kernelId: plan.kernelId }), 0);
    kernel.learn({ handle });
    registries.get(agentId)?.add(kernel);
    await backend.start(handle, NEVER);
    await harness.stub(plan).ready();
    return handle;
  };
  const inside = async (handle: KernelHandle, ...command: readonly string[]): Promise<string> => {
    const exec = await engine.docker
      .getContainer(handle.containerId)
      .exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true, Tty: true });
    let text = '';
    for await (const chunk of await exec.start({ Tty: true })) text += String(chunk);
    return text.replaceAll('\r', '').trimEnd();
  };
  const gatewayOf = async (network: string): Promise<string> => {
    const { IPAM } = (await engine.docker.getNetwork(network).inspect()) as {
      IPAM: { Config: { Gateway?: string; Subnet: string }[] };
    };
    const [config] = IPAM.Config;
    return config?.Gateway ?? (config?.Subnet ?? '').replace(/\.\d+\/\d+$/, '.1');
  };
  const metadataAt = (host: string) =>
    MetadataServer.open({
      host,
      port: 0,
      backend: { kernelAt: (address) => backend.kernelAt?.(address) ?? Promise.resolve(null) },
      kernels,
      environmentOf: (kernel) =>
        readEnvironment(join(plans.get(kernel.id)?.scratch.config ?? '', 'environ.txt')),
      sandboxOf: () => 'docker',
      logger: silentLogger,
    });

  test('kernels of two agents, on the default bridge and on a network of their own, each read their own metadata', async () => {
    const [bridge, named] = await Promise.all([gatewayOf('bridge'), gatewayOf(NETWORK)]);
    const servers = { [bridge]: await metadataAt(bridge), [named]: await metadataAt(named) };
    try {
      const callers = [
        { handle: await start(AGENTS[0], null), gateway: bridge },
        { handle: await start(AGENTS[1], null), gateway: bridge },
        { handle: await start(AGENTS[0], NETWORK), gateway: named },
        { handle: await start(AGENTS[1], NETWORK), gateway: named },
      ];
      for (const { handle, gateway } of callers) {
        const { NetworkSettings } = await engine.docker.getContainer(handle.containerId).inspect();
        const addresses = Object.values(NetworkSettings.Networks).map(({ IPAddress }) => IPAddress);
        const base = `http://${gateway}:${String(servers[gateway]?.port)}`;
        const read = async (...paths: readonly string[]): Promise<unknown> =>
          JSON.parse(
            await inside(
              handle,
              ...['/opt/splenium/bin/node', '-e', READER, base, callers[0]?.handle.kernelId ?? '', ...paths],
            ),
          );
        expect(
          await read(
            ...['', '/sandbox', '/envs', '/local-ipv4', '/nothing'].map((path) => `/latest/meta-data${path}`),
          ),
        ).toEqual([
          [200, 'envs\nlocal-ipv4\nsandbox'],
          [200, 'docker'],
          [200, JSON.stringify({ KERNEL: handle.kernelId })],
          [200, addresses[0]],
          [404, expect.any(String)],
        ]);
      }
      const stranger = await new Promise((resolve, reject) => {
        request({ host: bridge, port: servers[bridge]?.port, path: '/latest/meta-data/envs' }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on('error', reject)
          .end();
      });
      expect(stranger).toBe(403);
    } finally {
      for (const server of Object.values(servers)) await server.close();
    }
  }, 120_000);

  test('a container that is there no longer has no address, and the next one with it is itself', async () => {
    const addressOf = async ({ containerId }: KernelHandle) => {
      const { NetworkSettings } = await engine.docker.getContainer(containerId).inspect();
      return NetworkSettings.Networks['bridge']?.IPAddress ?? '';
    };
    const first = await start(AGENTS[0], null);
    const address = await addressOf(first);
    expect(await backend.kernelAt?.(address)).toEqual(first);
    await backend.remove(first);
    expect(await backend.kernelAt?.(address)).toBeNull();
    const second = await start(AGENTS[1], null);
    expect(await backend.kernelAt?.(await addressOf(second))).toEqual(second);
  });

  test('a kernel asks its agent through /opt/kernel/agent.sock, also after a restart of the daemon', async () => {
    const openSocket = (agentId: AgentId) =>
      AgentSocket.open({
        agentId,
        directory: join(root, 'container'),
        tcpPort: null,
        findContainer: (id) =>
          [...kernels].find((kernel) => kernel.agentId === agentId && kernel.containerId?.startsWith(id))
            ?.containerId ?? null,
        pids: new ContainerPids(),
        isJailEnabled: false,
        logger: silentLogger,
      });
    await mkdir(root, { recursive: true });
    let socket = await openSocket(AGENTS[0]);
    try {
      const handle = await start(AGENTS[0], null);
      const other = await start(AGENTS[1], null);
      const plan = plans.get(handle.kernelId);
      await writeFile(join(plan?.scratch.work ?? '', 'client.cjs'), CLIENT);
      const ask = async (...questions: readonly (readonly (string | number)[])[]) =>
        (
          await inside(handle, '/opt/splenium/bin/node', '/home/work/client.cjs', JSON.stringify(questions))
        ).split('\n');
      const { State } = await engine.docker.getContainer(handle.containerId).inspect();
      const neighbour = await engine.docker.getContainer(other.containerId).inspect();
      const { containerId } = handle;
      const questions = [
        ['is-jail-enabled'],
        ['container-pid-to-host-pid', containerId, 1],
        ['host-pid-to-container-pid', containerId, State.Pid],
        ['host-pid-to-container-pid', containerId.slice(0, 12), neighbour.State.Pid],
        ['host-pid-to-container-pid', containerId, process.pid],
        ['container-pid-to-host-pid', other.containerId, 1],
      ] as const;
      const answers = [
        '0 0',
        `0 ${String(State.Pid)}`,
        '0 1',
        '0 -2',
        '0 -1',
        '-1 that is no container of a kernel of this agent',
      ];
      expect(await ask(...questions)).toEqual(answers);
      expect(
        await inside(handle, 'sh', '-c', 'rm -f /opt/splenium-agent/agent.sock 2>/dev/null || echo refused'),
      ).toBe('refused');
      await socket.close();
      socket = await openSocket(AGENTS[0]);
      expect(await ask(...questions)).toEqual(answers);
    } finally {
      await socket.close();
    }
  }, 120_000);
});
