import { Heartbeat } from '../../../src/agent/heartbeat.js';
import { type AgentId, asContainerId, parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { AgentEvent, AgentInfo, EventSink } from '../../../src/events/catalogue.js';
import type { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const ONE = parseAgentId('i-one');
const TWO = parseAgentId('i-two');
const RUNNING = parseKernelId('11111111-1111-4111-8111-111111111111');
const STARTING = parseKernelId('22222222-2222-4222-8222-222222222222');
const INFO: AgentInfo = {
  ...{ host: '10.0.0.1', address: 'tcp://10.0.0.1:6001', region: 'local', scalingGroup: 'default' },
  ...{ publicKey: null, publicHost: '10.0.0.1', availableSlots: {}, slotTypes: {}, version: '25.17.1' },
  ...{ computePlugins: {}, images: [], architecture: 'x86_64', autoTerminateAbusingKernel: false },
};

/** As much of a registry as a heartbeat looks at. */
const registry = (
  ...kernels: readonly { readonly id: string; readonly containerId: string | null; readonly state: object }[]
) => kernels as unknown as KernelRegistry;

const KERNELS = registry(
  { id: RUNNING, containerId: asContainerId('c1'), state: { name: 'running' } },
  { id: STARTING, containerId: null, state: { name: 'starting', step: 'accepted' } },
);

let clock: ManualClock;
let events: RecordedEvents;
const opened: Heartbeat[] = [];
beforeEach(() => {
  clock = new ManualClock();
  events = new RecordedEvents();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((heartbeat) => heartbeat.stop()));
});

const start = (parts: Partial<ConstructorParameters<typeof Heartbeat>[0]> = {}, agentId: AgentId = ONE) => {
  const heartbeat = new Heartbeat({
    ...{ agentId, kernels: KERNELS, info: () => INFO, events, clock, logger: silentLogger },
    ...{ intervalMs: 20_000, ...parts },
  });
  opened.push(heartbeat);
  return heartbeat;
};
/** Second by second; whoever was waked has had its turn when this resolves. */
const pass = async (seconds: number) => {
  for (let second = 0; second < seconds; second += 1) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
};
/** Seconds at which `count` grew, over so many seconds. */
const growthsOf = async (count: () => number, seconds: number): Promise<readonly number[]> => {
  const at: number[] = count() > 0 ? [0] : [];
  for (let second = 1; second <= seconds; second += 1) {
    const before = count();
    await pass(1);
    if (count() > before) at.push(second);
  }
  return at;
};
const beats = (source: AgentId = ONE) =>
  events.published.filter((one) => one.source === source && one.event.name === 'agent_heartbeat').length;

test('beats at once and then at its pace, with what the agent has at that moment', async () => {
  let group = 'first';
  start({ info: () => ({ ...INFO, scalingGroup: group }) });
  group = 'second';
  expect(await growthsOf(beats, 45)).toEqual([0, 20, 40]);
  expect(events.named('agent_heartbeat').map(({ info }) => info.scalingGroup)).toEqual([
    'first',
    'second',
    'second',
  ]);
});

const hang = () => new Promise<never>(() => undefined);
class BadSink implements EventSink {
  readonly calls: AgentEvent[] = [];
  readonly #outcome: () => Promise<void>;

  constructor(outcome: () => Promise<void>) {
    this.#outcome = outcome;
  }

  publish(_source: AgentId, event: AgentEvent): Promise<void> {
    this.calls.push(event);
    return this.#outcome();
  }
  get beats(): number {
    return this.calls.filter(({ name }) => name === 'agent_heartbeat').length;
  }
}

test.each([
  ['hangs', hang],
  ['rejects', () => Promise.reject(new Error('away'))],
  [
    'throws',
    () => {
      throw new Error('broken');
    },
  ],
])('beats on although publishing %s', async (_title, outcome) => {
  const sink = new BadSink(outcome);
  start({ events: sink });
  expect(await growthsOf(() => sink.beats, 45)).toEqual([0, 20, 40]);
});

test.each([
  ['hangs', hang],
  [
    'throws',
    () => {
      throw new Error('broken');
    },
  ],
])('beats on although what goes alongside %s, and starts it with each beat', async (_title, outcome) => {
  let calls = 0;
  start({
    alongside: () => {
      calls += 1;
      return outcome();
    },
  });
  expect(await growthsOf(beats, 45)).toEqual([0, 20, 40]);
  expect(calls).toBe(3);
});

test('a beat whose content cannot be made is left out and logged; the next one is due when it is due', async () => {
  const log = new RecordedLog();
  let isBroken = true;
  start({
    logger: log,
    info: () => {
      if (isBroken) throw new Error('no slots');
      return INFO;
    },
  });
  await pass(10);
  isBroken = false;
  expect(await growthsOf(beats, 35)).toEqual([10, 30]);
  expect(log.lines.map(({ level, fields }) => [level, fields])).toEqual([
    ['error', { agentId: ONE, error: 'no slots' }],
  ]);
});

test('a status goes out at once and each minute: containers that run, and all kernels', async () => {
  start();
  expect(await growthsOf(() => events.named('agent_status_heartbeat').length, 65)).toEqual([0, 60]);
  for (const status of events.named('agent_status_heartbeat'))
    expect(status).toEqual({
      name: 'agent_status_heartbeat',
      containers: [{ containerId: 'c1', kernelId: RUNNING, status: 'running' }],
      kernels: [
        { kernelId: RUNNING, containerId: 'c1' },
        { kernelId: STARTING, containerId: null },
      ],
    });
});

test('each agent beats for itself: one that hangs delays no other', async () => {
  start({ events: new BadSink(hang) });
  start({ kernels: registry() }, TWO);
  expect(await growthsOf(() => beats(TWO), 45)).toEqual([0, 20, 40]);
  expect(events.named('agent_status_heartbeat')[0]).toMatchObject({ containers: [], kernels: [] });
  expect(beats(ONE)).toBe(0);
});

test('one that was stopped beats no more', async () => {
  const heartbeat = start();
  await heartbeat.stop();
  expect(await growthsOf(beats, 45)).toEqual([0]);
});
