import { parseAgentId } from '../../../src/core/ids.js';
import { LocalEventBus } from '../../../src/events/local-event-bus.js';
import { ManualClock } from '../../support/manual-clock.js';

const ONE = parseAgentId('i-one');
const TWO = parseAgentId('i-two');

test('keeps the last events with their source and a number without gaps', async () => {
  const bus = new LocalEventBus({ clock: new ManualClock(), capacity: 2 });
  await bus.publish(ONE, { name: 'agent_started', reason: 'self-started' });
  await bus.publish(TWO, { name: 'agent_started', reason: 'self-started' });
  await bus.publish(ONE, { name: 'agent_terminated', reason: 'shutdown' });
  expect(bus.since(0).map(({ sequence, source }) => [sequence, source])).toEqual([
    [2, TWO],
    [3, ONE],
  ]);
  expect(bus.since(2)).toHaveLength(1);
});

test('a listener that throws harms nobody', async () => {
  const bus = new LocalEventBus({ clock: new ManualClock() });
  const seen: number[] = [];
  bus.subscribe(() => {
    throw new Error('listener');
  });
  const unsubscribe = bus.subscribe(({ sequence }) => seen.push(sequence));
  await bus.publish(ONE, { name: 'do_agent_resource_check' });
  unsubscribe();
  await bus.publish(ONE, { name: 'do_agent_resource_check' });
  expect(seen).toEqual([1]);
});
