import { type KernelChange, type KernelState, transition } from '../../../src/kernels/kernel-state.js';

const states = {
  accepted: { name: 'preparing', step: 'accepted' },
  waiting: { name: 'preparing', step: 'waiting-for-runner' },
  running: { name: 'running' },
  restarting: { name: 'restarting', step: 'accepted' },
  restarted: { name: 'restarting', step: 'waiting-for-runner' },
  terminating: { name: 'terminating', reason: 'first' },
  terminated: { name: 'terminated', reason: 'first' },
} as const satisfies Record<string, KernelState>;

const changes = {
  pull: { type: 'step', step: 'pulling-image' },
  ready: { type: 'ready' },
  restart: { type: 'restart' },
  terminate: { type: 'terminate', reason: 'second' },
  cleaned: { type: 'cleaned' },
} as const satisfies Record<string, KernelChange>;

const impossible = null;
const ending = { name: 'terminating', reason: 'second' } as const;

/** Every state with every change. */
const table: Record<keyof typeof states, Record<keyof typeof changes, KernelState | null>> = {
  accepted: {
    pull: { name: 'preparing', step: 'pulling-image' },
    ready: impossible,
    restart: impossible,
    terminate: ending,
    cleaned: impossible,
  },
  waiting: {
    pull: impossible,
    ready: states.running,
    restart: impossible,
    terminate: ending,
    cleaned: impossible,
  },
  running: {
    pull: impossible,
    ready: impossible,
    restart: states.restarting,
    terminate: ending,
    cleaned: impossible,
  },
  restarting: {
    pull: { name: 'restarting', step: 'pulling-image' },
    ready: impossible,
    restart: impossible,
    terminate: ending,
    cleaned: impossible,
  },
  restarted: {
    pull: impossible,
    ready: states.running,
    restart: impossible,
    terminate: ending,
    cleaned: impossible,
  },
  terminating: {
    pull: impossible,
    ready: impossible,
    restart: impossible,
    terminate: states.terminating,
    cleaned: states.terminated,
  },
  terminated: {
    pull: impossible,
    ready: impossible,
    restart: impossible,
    terminate: states.terminated,
    cleaned: states.terminated,
  },
};

const rows = Object.entries(table).flatMap(([from, outcomes]) =>
  Object.entries(outcomes).map(([change, to]) => ({
    from: states[from as keyof typeof states],
    change: changes[change as keyof typeof changes],
    to,
    title: `${from} + ${change} -> ${to?.name ?? 'impossible'}`,
  })),
);

test.each(rows)('$title', ({ from, change, to }) => {
  if (to) expect(transition(from, change)).toEqual(to);
  else
    expect(() => transition(from, change)).toThrow(expect.objectContaining({ code: 'INVARIANT_VIOLATED' }));
});

test('a step is never entered twice', () => {
  const change = { type: 'step', step: 'creating-container' } as const;
  const once = transition(states.accepted, change);
  expect(() => transition(once, change)).toThrow(/cannot take the change 'step' to 'creating-container'/);
});
