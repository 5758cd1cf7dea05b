import { randomUUID } from 'node:crypto';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerCreateOptions } from 'dockerode';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';
import { NEVER } from '../agent/agent-bench.js';

await describeWithEngine('containers that an agent finds at its start', (engine) => {
  let volume: string;
  let on: EngineBench;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    volume = await runnerVolumeOf(engine);
  }, 120_000);
  beforeEach(async () => {
    on = await EngineBench.start(engine, volume, { agentIds: ['i-own', 'i-sibling'] });
  });
  afterEach(() => on.stop(), 120_000);

  const [OWN, SIBLING] = [0, 1] as const;
  const agentAt = (index: number) => {
    const agent = on.bench.agents[index];
    if (!agent) throw new Error('no such agent');
    return agent;
  };
  const scratchOf = ({ kernelId }: KernelCreationRequest, ...names: readonly string[]) =>
    join(on.bench.directory, 'scratches', kernelId, ...names);
  const journalOf = (index: number, { kernelId }: KernelCreationRequest) =>
    join(on.bench.directory, 'state', 'agents', agentAt(index).id, 'kernels', `${kernelId}.json`);
  /** The labels that the original's agent gives (spec/kernel-lifecycle.md 2.16.2), and those of the image. */
  const originalLabels = (owner: string, { kernelId, sessionId }: KernelCreationRequest) => ({
    'ai.backend.kernelspec': '1',
    'ai.backend.runtime-type': 'app',
    'ai.backend.kernel-id': kernelId,
    'ai.backend.session-id': sessionId,
    'ai.backend.owner': owner,
    'ai.backend.owner-user-id': '22222222-2222-4222-8222-222222222222',
    'ai.backend.owner-project-id': '',
    'ai.backend.internal.block-service-ports': '0',
    'ai.backend.service-ports': '',
  });
  /**
   * Turns a kernel into what the original's agent would have left of it: a container with the original's labels and the
   * original's files, and no record of ours. While our daemon is away.
   */
  const asOriginal = async (index: number, request: KernelCreationRequest): Promise<string> => {
    const { Name, Config, HostConfig, Id } = await on.inspect(request);
    await engine.docker.getContainer(Id).remove({ force: true });
    await rm(journalOf(index, request));
    await rm(scratchOf(request, 'kernel.json'));
    const resources = scratchOf(request, 'config', 'resource.txt');
    const text = await readFile(resources, 'utf8');
    const options: ContainerCreateOptions = {
      name: Name.slice(1),
      Image: Config.Image,
      Cmd: Config.Cmd,
      Entrypoint: Config.Entrypoint ?? [],
      Env: Config.Env,
      User: Config.User,
      Tty: true,
      OpenStdin: true,
      StopSignal: 'SIGINT',
      Hostname: Config.Hostname,
      ExposedPorts: Config.ExposedPorts,
      WorkingDir: Config.WorkingDir,
      Labels: originalLabels(agentAt(index).id, request),
      HostConfig,
    };
    const container = await engine.docker.createContainer(options);
    await writeFile(resources, text.replace(/^CID=.*$/m, `CID=${container.id}`));
    await container.start();
    return container.id;
  };

  test('of the original are kernels of the agent that owns them, with resources, ports and answers, and of no sibling', async () => {
    const requests = [busyboxRequest(), busyboxRequest()] as const;
    await agentAt(OWN).createKernels([requests[OWN]], NEVER);
    await agentAt(SIBLING).createKernels([requests[SIBLING]], NEVER);
    const booksOf = (index: 0 | 1) => ({
      usage: agentAt(index).resourceUsage().kernels,
      ports: on.bench.pools[index]?.portsOf(requests[index].kernelId).slice().sort(),
    });
    const before = ([OWN, SIBLING] as const).map(booksOf);
    const ids: string[] = [];
    await on.restartDaemon(async () => {
      for (const index of [OWN, SIBLING]) ids.push(await asOriginal(index, requests[index]));
    });
    for (const index of [OWN, SIBLING] as const) {
      const { kernelId } = requests[index];
      const agent = agentAt(index);
      expect([...agent.kernels].map(({ id, containerId }) => [id, containerId])).toEqual([
        [kernelId, ids[index]],
      ]);
      expect(booksOf(index)).toEqual(before[index]);
      expect(agent.examine()).toEqual([]);
      expect(await agent.compareWithBackend()).toMatchObject({ ended: [] });
      expect(await agent.pingKernel(kernelId, NEVER)).not.toBeNull();
    }
    expect(on.bench.events.named('kernel_terminated')).toEqual([]);
    // Both can be ended as any other, one at a time.
    const { kernelId, sessionId } = requests[OWN];
    await agentAt(OWN).destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
    await expect(stat(scratchOf(requests[OWN]))).rejects.toThrow();
    expect((await on.inspect(requests[SIBLING])).State.Running).toBe(true);
    expect(on.bench.events.named('kernel_terminated')).toMatchObject([{ kernelId }]);
  }, 120_000);

  test('and cannot be taken over are ended and told; those of agents elsewhere and of nobody stay', async () => {
    const made: string[] = [];
    const make = async (name: string, labels: Record<string, string>) => {
      const options = { name, Image: BUSYBOX_IMAGE, Cmd: ['sleep', '1000'], Labels: labels };
      const container = await engine.docker.createContainer({
        ...options,
        HostConfig: { PortBindings: { '2000/tcp': [{ HostPort: '' }], '2001/tcp': [{ HostPort: '' }] } },
      });
      await container.start();
      made.push(container.id);
      return container;
    };
    const [lost, elsewhere] = [busyboxRequest(), busyboxRequest()] as const;
    const work = join(on.bench.directory, 'scratches', lost.kernelId, 'work');
    await on.restartDaemon(async () => {
      // A kernel of ours whose files are gone.
      const container = await engine.docker.createContainer({
        name: `kernel.busybox.${lost.kernelId}`,
        Image: BUSYBOX_IMAGE,
        Cmd: ['sleep', '1000'],
        Labels: originalLabels('i-own', lost),
        HostConfig: {
          Init: true,
          PortBindings: {
            '2000/tcp': [{ HostIp: '127.0.0.1', HostPort: '17990' }],
            '2001/tcp': [{ HostIp: '127.0.0.1', HostPort: '17991' }],
          },
          Binds: [`${work}:/home/work`],
        },
      });
      await container.start();
      await make(`kernel.busybox.${elsewhere.kernelId}`, originalLabels('i-elsewhere', elsewhere));
      await make(`kernel.busybox.${randomUUID()}`, {});
    });
    try {
      const filters = { label: [`ai.backend.kernel-id=${lost.kernelId}`] };
      expect(await engine.docker.listContainers({ all: true, filters })).toEqual([]);
      expect(on.bench.events.named('kernel_terminated')).toMatchObject([
        { kernelId: lost.kernelId, sessionId: lost.sessionId, reason: 'terminated-unknown-container' },
      ]);
      expect(on.bench.agents.flatMap(({ kernels }) => [...kernels])).toEqual([]);
      for (const agent of on.bench.agents)
        expect(await agent.compareWithBackend()).toEqual({ ended: [], activeContainers: 0 });
      for (const id of made)
        expect((await engine.docker.getContainer(id).inspect()).State.Running).toBe(true);
    } finally {
      for (const id of made) await engine.docker.getContainer(id).remove({ force: true });
    }
  }, 120_000);
});
