import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';
import { eventually } from '../../support/eventually.js';
import { NEVER } from '../agent/agent-bench.js';

await describeWithEngine('the events of an engine', (engine) => {
  let on: EngineBench;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    on = await EngineBench.start(engine, await runnerVolumeOf(engine), { agentIds: ['i-one', 'i-two'] });
  }, 120_000);
  afterAll(() => on.stop(), 120_000);

  test('are one stream for all agents of the process, and each end goes to the agent that has the kernel', async () => {
    const made: { readonly agentId: string; readonly kernelId: string }[] = [];
    for (const agent of on.bench.agents) {
      const request = busyboxRequest();
      await agent.createKernels([request], NEVER);
      made.push({ agentId: agent.id, kernelId: request.kernelId });
      const { Id } = await on.inspect(request);
      await engine.docker.getContainer(Id).kill({ signal: 'SIGKILL' });
    }
    await eventually(
      () => {
        const ends = on.bench.events.published.filter(({ event }) => event.name === 'kernel_terminated');
        const told = ends.map(({ source, event }) => ({
          agentId: source,
          kernelId: 'kernelId' in event ? event.kernelId : null,
        }));
        expect(told).toHaveLength(made.length);
        expect(new Set(told)).toEqual(new Set(made));
      },
      { timeoutMs: 60_000 },
    );
    expect(on.proxy.eventStreams).toBe(1);
  }, 120_000);
});
