import type { ManagerVersion } from '../../../src/config/types.js';
import { TestDaemon, type TestDaemonOptions } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import type { SessionRow } from '../../support/manager/session-table.js';
import { SmallManager } from '../../support/manager/small-manager.js';
import { describeAbsences } from './absences.contract.js';
import { describeEnds } from './ends.contract.js';
import { describeOriginalReader } from './original-reader.contract.js';

export interface SessionContext {
  readonly manager: SmallManager;
  readonly daemon: TestDaemon;
  /** An image with a shell, and the labels that make a kernel of it. */
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What code prints in a kernel of a session. */
  readonly output: (session: SessionRow, place: number, code: string) => Promise<string>;
}

/** Full sessions of a manager that sees events alone, over two agents of one daemon. */
export function describeSessions(options: {
  readonly line: ManagerVersion;
  readonly daemon: TestDaemonOptions;
  /** One with a shell. */
  readonly image: string;
  /** Containers and processes that are left of kernels. */
  readonly remains: (daemon: TestDaemon) => Promise<readonly unknown[]>;
  /** Tests of this backend alone. */
  readonly more?: (context: () => SessionContext) => void;
}): void {
  const labels = {
    'ai.backend.kernelspec': '1',
    'ai.backend.runtime-type': 'shell',
    'ai.backend.runtime-path': '/bin/sh',
    'ai.backend.features': 'batch query uid-match',
  };
  const [one, two] = ['i-one', 'i-two'] as const;
  let manager: SmallManager;
  let daemon: TestDaemon;

  beforeAll(async () => {
    manager = await SmallManager.start(options.line);
    daemon = await TestDaemon.start({
      ...options.daemon,
      spleniumKeys: manager.spleniumKeys,
      toml: `${manager.toml}[debug]\nheartbeat-interval = 1\n`,
      // A kernel of these sessions uses next to nothing.
      env: { ...options.daemon.env, BACKEND_CPU_OVERCOMMIT_FACTOR: '8' },
    });
    manager.connect(daemon);
  }, 120_000);
  afterAll(async () => {
    await manager.close();
    await daemon.dispose();
  }, 120_000);
  afterEach(async () => {
    // What a test that failed has left must not fail the others too.
    for (const session of manager.sessions.rows.values()) manager.terminate(session);
    await manager.settled();
    manager.failures.length = 0;
    expect(manager.defects).toEqual([]);
    expectOneEndEach();
    // What is told to one manager is told to all listeners too, with the same words.
    const ofKernels = (events: typeof manager.heard) =>
      events.filter(({ name }) => /^(kernel|session)_/.test(name));
    await eventually(() => {
      expect(ofKernels(manager.broadcasts)).toEqual(ofKernels(manager.heard));
    });
    await eventually(async () => {
      expect(await options.remains(daemon)).toEqual([]);
    });
    const client = daemon.client();
    const findings = (await client.call('examine', {})).flatMap(({ findings: some }) => some);
    await client.close();
    expect(findings).toEqual([]);
  });

  /** One for each time that it was made or tried to be made. */
  const expectOneEndEach = () => {
    for (const session of manager.sessions.rows.values())
      for (const { id } of session.kernels) {
        const ends = manager.heard.filter(
          ({ name, args }) =>
            name === 'kernel_terminated' && args[0] === id && args[2] !== 'already-terminated',
        );
        const starts = manager.heard.filter(
          ({ name, args }) => name === 'kernel_preparing' && args[0] === id,
        );
        expect(ends.length).toBeLessThanOrEqual(Math.max(1, starts.length));
      }
  };

  const output = async (session: SessionRow, place: number, code: string): Promise<string> => {
    const { id: kernelId, agentId } = session.kernels[place] ?? { id: '', agentId: '' };
    let text = '';
    for await (const event of manager.client(agentId).run({ kernelId, sessionId: session.id, code }))
      if (event.type === 'stdout') text += event.text;
    return text.trim();
  };
  const context = (): SessionContext => ({ manager, daemon, image: options.image, labels, output });

  test('agents are ALIVE by their heartbeats', async () => {
    await eventually(() => {
      expect([...manager.agents.rows.values()].map(({ id, status }) => [id, status]).sort()).toEqual([
        [one, 'ALIVE'],
        [two, 'ALIVE'],
      ]);
    });
  });

  test('a session of one kernel runs code and ends when told', async () => {
    const session = manager.open({ image: options.image, labels, agents: [one] });
    await manager.reaches(session, 'RUNNING');
    const [kernel] = session.kernels;
    expect(await output(session, 0, 'echo $((20 + 22))')).toBe('42');
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).toEqual([
      'PREPARING',
      'PREPARED',
      'CREATING',
      'RUNNING',
      'TERMINATING',
      'TERMINATED',
    ]);
    expect(kernel?.reason).toBe('user-requested');
  }, 120_000);

  test('a cluster of three kernels over two agents runs and ends as one', async () => {
    const session = manager.open({ image: options.image, labels, agents: [one, two, two] });
    await manager.reaches(session, 'RUNNING');
    const texts = await Promise.all(
      [0, 1, 2].map((place) => output(session, place, `echo kernel ${String(place)}`)),
    );
    expect(texts).toEqual(['kernel 0', 'kernel 1', 'kernel 2']);
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.kernels.map(({ reason }) => reason)).toEqual(Array(3).fill('user-requested'));
  }, 120_000);

  test.each([
    ['success', 'exit 0', 'SUCCESS', 'task-finished'],
    ['failure', 'exit 3', 'FAILURE', 'task-failed'],
  ])(
    'the %s of a batch session on the second agent is reported, then it ends',
    async (_, command, result, reason) => {
      const session = manager.open({
        image: options.image,
        labels,
        agents: [two],
        type: 'batch',
        startupCommand: command,
      });
      await manager.reaches(session, 'TERMINATED');
      expect(session).toMatchObject({ result, kernels: [{ reason }] });
    },
    120_000,
  );

  test('an image that is there already is checked first, in a task of its own', async () => {
    const session = manager.open({ image: options.image, labels, agents: [two] });
    await manager.reaches(session, 'PREPARED');
    const told = manager.heard.filter(({ name, source }) => name.startsWith('image_pull') && source === two);
    const [last] = told.slice(-1);
    expect(last?.name).toBe('image_pull_finished');
    expect([0, 1, 3].map((place) => last?.args[place])).toEqual([options.image, two, 'Image already exists']);
    await eventually(() => {
      expect(manager.broadcasts.map(({ name }) => name)).toContain('bgtask_done');
    });
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
  }, 120_000);

  describeEnds({ context, line: options.line });
  describeAbsences({ context, line: options.line });
  options.more?.(context);
  // Of all that the tests before have caused.
  describeOriginalReader({ context, line: options.line });
}
