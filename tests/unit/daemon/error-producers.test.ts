import type { HostedAgent } from '../../../src/agent/hosted-agent.js';
import type { AgentConfig, DaemonConfig } from '../../../src/config/index.js';
import { noMetrics } from '../../../src/core/metrics.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { startAgentLoops } from '../../../src/daemon/agent-loops.js';
import { eventually } from '../../support/eventually.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const MESSAGE = 'the containers cannot be compared with the kernels of the agent: Error';

test('a comparison with the engine that fails is one agent_error of its agent, and another after it had worked', async () => {
  const events = new RecordedEvents();
  let isEngineAway = true;
  let rounds = 0;
  const hosted = {
    kernels: [],
    compareWithBackend: () => {
      rounds += 1;
      return isEngineAway
        ? Promise.reject(new Error('the engine is away'))
        : Promise.resolve({ activeContainers: 0 });
    },
  } as unknown as HostedAgent;
  const loops = startAgentLoops({
    config: { managerVersion: '25.17' } as DaemonConfig,
    agent: {
      id: AGENT,
      config: { syncContainerLifecycles: { enabled: true, intervalMs: 1 } } as AgentConfig,
    },
    hosted,
    events,
    redis: null,
    logger: new RecordedLog(),
    metrics: noMetrics,
  });
  const more = async (count: number) => {
    const until = rounds + count;
    await eventually(() => {
      expect(rounds).toBeGreaterThanOrEqual(until);
    });
  };
  const told = () => events.published.map(({ source, event }) => [source, event.name]);
  await more(2);
  expect(told()).toEqual([[AGENT, 'agent_error']]);
  expect(events.published[0]?.event).toMatchObject({ message: MESSAGE, traceback: null });
  isEngineAway = false;
  await more(2);
  isEngineAway = true;
  await more(2);
  await loops.stop();
  expect(events.published.map(({ event }) => event)).toEqual([
    expect.objectContaining({ message: MESSAGE }),
    expect.objectContaining({ message: MESSAGE }),
  ]);
}, 60_000);
