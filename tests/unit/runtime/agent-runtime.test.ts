import { deferred } from '../../../src/core/async.js';
import { parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { AgentRuntime } from '../../../src/runtime/agent-runtime.js';
import type { AgentFactory } from '../../../src/runtime/agent-runtime.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { RecordedLog } from '../../support/recorded-log.js';

const create = (
  agents: readonly AgentFactory[],
  startFailure: 'abort' | 'continue' = 'abort',
  logger = silentLogger,
) => AgentRuntime.create({ agents, startFailure, logger });

const failing = (id: string): AgentFactory => ({
  id: parseAgentId(id),
  start: () => Promise.reject(new Error('no devices')),
});
const stops = (agent: FakeAgent) => agent.calls.filter(({ method }) => method === 'stop').length;

describe('one agent', () => {
  test('is the default agent and the same object by its id', async () => {
    const agent = new FakeAgent('i-one');
    const runtime = await create([agent.factory()]);
    expect(runtime.getAgent(null)).toBe(agent);
    expect(runtime.getAgent('i-one')).toBe(agent);
    expect(runtime.listAgents()).toEqual([agent]);
  });

  test('an id that is not hosted is refused by name', async () => {
    const runtime = await create([new FakeAgent('i-one').factory(), new FakeAgent('i-two').factory()]);
    expect(() => runtime.getAgent('i-x')).toThrow(
      expect.objectContaining({
        pythonName: 'AgentIdNotFoundError',
        message: "Agent 'i-x' not found in this runtime. Available agents: i-one, i-two",
      }),
    );
  });

  test('stopping stops it once, however often it is asked', async () => {
    const agent = new FakeAgent('i-one');
    const runtime = await create([agent.factory()]);
    await Promise.all([runtime.stop(), runtime.stop()]);
    expect(stops(agent)).toBe(1);
  });
});

describe('several agents', () => {
  test('start at the same time and keep the order of the configuration', async () => {
    const ids = ['i-c', 'i-a', 'i-b'];
    const gates = ids.map(() => deferred<void>());
    const begun: string[] = [];
    const agents = ids.map((id) => new FakeAgent(id));
    const factories = agents.map((agent, index): AgentFactory => {
      const inner = agent.factory();
      return {
        id: agent.id,
        start: async () => {
          begun.push(agent.id);
          await gates[index]?.promise;
          return await inner.start();
        },
      };
    });
    const creating = create(factories);
    expect(begun).toEqual(ids);
    for (const gate of [...gates].reverse()) gate.resolve();
    const runtime = await creating;
    expect(runtime.listAgents().map(({ id }) => id)).toEqual(ids);
    expect(runtime.getAgent(null).id).toBe('i-c');
  });

  test('stop one after another in order, even if one fails', async () => {
    const order: string[] = [];
    const factories = ['i-a', 'i-b', 'i-c'].map((id): AgentFactory => {
      const agent = new FakeAgent(id);
      const stop = () => {
        order.push(id);
        return id === 'i-b' ? Promise.reject(new Error('stuck')) : Promise.resolve();
      };
      return { id: agent.id, start: () => Promise.resolve({ agent, stop }) };
    });
    const runtime = await create(factories);
    await expect(runtime.stop()).rejects.toThrow('stopping agent i-b: stuck');
    expect(order).toEqual(['i-a', 'i-b', 'i-c']);
  });

  test('kernels of all of them are seen through one registry, each agent sees its own', async () => {
    const agents = [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;
    const runtime = await create(agents.map((agent) => agent.factory()));
    const kernels = agents.map((agent) => {
      const kernel = Kernel.requested(agent.id, kernelRequest(), 0);
      agent.kernels.add(kernel);
      return kernel;
    });
    expect([...runtime.kernels]).toEqual(kernels);
    expect(runtime.listKernels(null).map(({ agentId }) => agentId)).toEqual(['i-one', 'i-two']);
    expect(runtime.listKernels('i-two').map(({ kernelId }) => kernelId)).toEqual([kernels[1]?.id]);
    const first = kernels[0]?.id ?? parseKernelId('');
    expect(runtime.describeKernel(first, null).agentId).toBe('i-one');
    expect(() => runtime.describeKernel(first, 'i-two')).toThrow(
      expect.objectContaining({ pythonName: 'KeyError', message: first }),
    );
    expect(() => runtime.listKernels('i-x')).toThrow(
      expect.objectContaining({ pythonName: 'AgentIdNotFoundError' }),
    );
  });
});

describe('an agent that does not start', () => {
  test('stops the others and fails the creation with abort', async () => {
    const agents = [new FakeAgent('i-one'), new FakeAgent('i-two')] as const;
    await expect(create([agents[0].factory(), failing('i-bad'), agents[1].factory()])).rejects.toMatchObject({
      code: 'AGENT_START_FAILED',
      message: 'agents did not start: i-bad: no devices',
    });
    expect(agents.map(stops)).toEqual([1, 1]);
  });

  test('is left out with continue: the others serve, and its id is not found', async () => {
    const agent = new FakeAgent('i-two');
    const logger = new RecordedLog();
    const runtime = await create([failing('i-bad'), agent.factory()], 'continue', logger);
    expect(runtime.listAgents()).toEqual([agent]);
    expect([...runtime.failures.keys()]).toEqual(['i-bad']);
    expect(logger.lines).toEqual([
      {
        level: 'error',
        message: 'an agent did not start',
        fields: { agentId: 'i-bad', error: 'no devices' },
      },
    ]);
    const notFound = expect.objectContaining({ pythonName: 'AgentIdNotFoundError' });
    expect(() => runtime.getAgent('i-bad')).toThrow(notFound);
    // Calls for the default agent must not land on another one.
    expect(() => runtime.getAgent(null)).toThrow(notFound);
    await runtime.stop();
    expect(stops(agent)).toBe(1);
  });

  test('fails the creation with continue, too, when no other is left', async () => {
    await expect(create([failing('i-a'), failing('i-b')], 'continue')).rejects.toMatchObject({
      code: 'AGENT_START_FAILED',
      message: 'agents did not start: i-a: no devices; i-b: no devices',
    });
  });

  test('does not start when it brings back a kernel that a sibling has', async () => {
    const request = kernelRequest();
    const agents = ['i-one', 'i-two'].map((id) => {
      const agent = new FakeAgent(id);
      agent.kernels.add(Kernel.requested(agent.id, request, 0));
      return agent;
    });
    const runtime = await create(
      agents.map((agent) => agent.factory()),
      'continue',
    );
    expect(runtime.listAgents().map(({ id }) => id)).toEqual(['i-one']);
    expect(agents.map(stops)).toEqual([0, 1]);
  });
});

test('no agent at all is refused', async () => {
  await expect(create([])).rejects.toMatchObject({ code: 'AGENT_START_FAILED' });
});

test('kernels are listed in configuration order, whoever was ready first', async () => {
  const slow = new FakeAgent('i-slow');
  const quick = new FakeAgent('i-quick');
  const isQuickReady = deferred<undefined>();
  const runtime = await create([
    {
      id: slow.id,
      start: async () => {
        await isQuickReady.promise;
        return slow.factory().start();
      },
    },
    {
      id: quick.id,
      start: async () => {
        const started = await quick.factory().start();
        isQuickReady.resolve(undefined);
        return started;
      },
    },
  ]);
  for (const [index, agent] of [quick, slow].entries()) {
    const kernelId = parseKernelId(String(index).padStart(32, '0'));
    agent.kernels.add(Kernel.requested(agent.id, kernelRequest({ kernelId }), 0));
  }
  expect(runtime.listKernels(null).map(({ agentId }) => agentId)).toEqual(['i-slow', 'i-quick']);
});
