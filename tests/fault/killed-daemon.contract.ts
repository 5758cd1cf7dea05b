import { setTimeout as pause } from 'node:timers/promises';
import { within } from '../../src/core/async.js';
import { DisposalStack } from '../../src/core/disposal.js';
import { TestDaemon, type TestDaemonOptions } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';
import type { ReceivedEvent } from '../support/manager/event-consumer.js';
import type { KernelStatus } from '../support/manager/kernel-rules.js';
import type { KernelRow } from '../support/manager/session-table.js';
import { SmallManager } from '../support/manager/small-manager.js';

/** A moment of a kernel's life that a test waits for. */
export interface Watch {
  readonly reached: Promise<unknown>;
  /** Lets go what it holds up, if it holds anything up; also when the moment never came. */
  readonly release: () => void;
}

/** Null: as soon as the manager knows that the step is done. */
export type Moment = readonly [
  title: string,
  watch: ((kernelId: string, daemon: TestDaemon) => Watch) | null,
];

export interface KillTable {
  /** Moments of a creation; the shorter list begins again when it ends. */
  readonly creation: readonly Moment[];
  readonly destruction: readonly Moment[];
}

const NEVER: Watch = { reached: new Promise(() => undefined), release: () => undefined };
const PATIENT = { timeoutMs: 90_000, intervalMs: 250 };

/** Resolves when the condition holds, which is looked at all the time. */
export function polled(condition: () => boolean): Watch {
  const watching = { stopped: false };
  const reached = (async () => {
    while (!watching.stopped && !condition()) await pause(1);
  })();
  return {
    reached,
    release: () => {
      watching.stopped = true;
    },
  };
}

/**
 * kill -9 of the daemon at every step of a creation and of an end, seen by a manager that knows events alone: it repeats
 * what is stuck, as managers do, and must get there; each kernel that was made ends once; nothing is left.
 */
export function describeKilledDaemon(options: {
  readonly daemon: () => TestDaemonOptions;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly table: KillTable;
  /** Containers and processes that are left of kernels. */
  readonly remains: (daemon: TestDaemon) => Promise<readonly unknown[]>;
  /** Called between a plain life of a kernel and the kills: tells what the table may have forgotten. */
  readonly forgotten?: () => readonly string[];
}): void {
  const opened = new DisposalStack();
  let manager: SmallManager;
  let daemon: TestDaemon;

  beforeAll(async () => {
    manager = await SmallManager.start();
    opened.defer('manager', () => manager.close());
    daemon = await TestDaemon.start({
      ...options.daemon(),
      agentIds: ['i-one'],
      toml: `${manager.toml}[debug]\nheartbeat-interval = 1\n`,
    });
    opened.defer('daemon', () => daemon.dispose());
    manager.connect(daemon);
  }, 120_000);
  afterAll(() => opened.close(), 120_000);

  const open = () => manager.open({ image: options.image, labels: options.labels, agents: ['i-one'] });
  /** Or when the manager knows the step to be done: a moment may be too short to be seen. */
  const killAt = async (watch: Watch, kernel: KernelRow, done: KernelStatus) => {
    const told = polled(() => kernel.status === done);
    try {
      const moment = Promise.race([watch.reached, told.reached]);
      await within(moment, { timeoutMs: 60_000, what: `a moment before ${done}` });
      await daemon.kill();
    } finally {
      told.release();
      watch.release();
    }
    await daemon.resume();
  };

  test('without a kill, a kernel comes and goes by steps that the table names', async () => {
    const session = open();
    await manager.reaches(session, 'RUNNING');
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(options.forgotten?.() ?? []).toEqual([]);
  }, 120_000);

  const { creation, destruction } = options.table;
  const rows = Array.from({ length: Math.max(creation.length, destruction.length) }, (_, row) => {
    const pick = (moments: readonly Moment[]): Moment => moments[row % moments.length] ?? ['nothing', null];
    const [[creating, watchCreation], [ending, watchDestruction]] = [pick(creation), pick(destruction)];
    return [creating, ending, watchCreation, watchDestruction] as const;
  });

  test.each(rows)(
    'killed while it is made, when %s; and while it ends, when %s',
    async (_creating, _ending, watchCreation, watchDestruction) => {
      // Known to no agent before its image is there: watched from its first step on.
      const session = open();
      const [kernel] = session.kernels;
      if (!kernel) throw new Error('a session without kernels');
      await killAt(watchCreation?.(kernel.id, daemon) ?? NEVER, kernel, 'RUNNING');
      await eventually(async () => {
        if (kernel.status === 'CREATING' || kernel.status === 'PREPARING') await manager.pass(10_000);
        expect(kernel.status).toBe('RUNNING');
      }, PATIENT);
      const ended = watchDestruction?.(kernel.id, daemon) ?? NEVER;
      manager.terminate(session);
      await killAt(ended, kernel, 'TERMINATED');
      await manager.reaches(session, 'TERMINATED');
      await eventually(async () => {
        expect(await options.remains(daemon)).toEqual([]);
        expect(await manager.client('i-one').listKernels()).toEqual([]);
      }, PATIENT);
      // Once for each attempt to make it, and for the one that came up once.
      const life = manager.heard.filter(({ args }) => args[0] === kernel.id);
      const isEnd = ({ name, args }: ReceivedEvent) =>
        name === 'kernel_terminated' && args[2] !== 'already-terminated';
      expect(life.filter(isEnd).length).toBeLessThanOrEqual(manager.creationsOf(session));
      const started = life.findLastIndex(({ name }) => name === 'kernel_started');
      expect(life.slice(started).filter(isEnd).length).toBeLessThanOrEqual(1);
      expect(life.at(-1)?.name).toBe('kernel_terminated');
      const examined = await manager.client('i-one').withAgent(null).call('examine', {});
      expect(examined.flatMap(({ findings }) => findings)).toEqual([]);
      expect(manager.defects).toEqual([]);
    },
    150_000,
  );
}
