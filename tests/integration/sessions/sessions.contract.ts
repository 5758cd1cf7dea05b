import { TestDaemon, type TestDaemonOptions } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import type { SessionRow } from '../../support/manager/session-table.js';
import { SmallManager } from '../../support/manager/small-manager.js';

/** Full sessions of a manager that sees events alone, over two agents of one daemon. */
export function describeSessions(options: {
  readonly daemon: TestDaemonOptions;
  /** One with a shell. */
  readonly image: string;
  /** Containers and processes that are left of kernels. */
  readonly remains: (daemon: TestDaemon) => Promise<readonly unknown[]>;
  /** Tests of this backend alone. */
  readonly more?: (context: () => { readonly manager: SmallManager; readonly daemon: TestDaemon }) => void;
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
    manager = await SmallManager.start();
    daemon = await TestDaemon.start({
      ...options.daemon,
      toml: manager.toml,
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
    expect(manager.defects).toEqual([]);
    const ends = manager.heard.filter(
      ({ name, args }) => name === 'kernel_terminated' && args[2] !== 'already-terminated',
    );
    const ended = ends.map(({ args }) => args[0]);
    expect(ended).toHaveLength(new Set(ended).size);
    // What is told to one manager is told to all listeners too, with the same words.
    const ofKernels = (events: typeof manager.heard) =>
      events.filter(({ name }) => /^(kernel|session)_/.test(name));
    await eventually(() => {
      expect(ofKernels(manager.broadcasts)).toEqual(ofKernels(manager.heard));
    });
    const client = daemon.client();
    const findings = (await client.call('examine', {})).flatMap((one) => one.findings);
    await client.close();
    expect(findings).toEqual([]);
    await eventually(async () => {
      expect(await options.remains(daemon)).toEqual([]);
    });
  });

  const output = async (session: SessionRow, place: number, code: string): Promise<string> => {
    const { id: kernelId, agentId } = session.kernels[place] ?? { id: '', agentId: '' };
    let text = '';
    for await (const event of manager.client(agentId).run({ kernelId, sessionId: session.id, code }))
      if (event.type === 'stdout') text += event.text;
    return text.trim();
  };

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

  test('one kernel that cannot start ends the session with all its kernels', async () => {
    const session = manager.open({
      image: options.image,
      labels,
      lastLabels: { ...labels, 'ai.backend.runtime-type': 'no-such-runtime' },
      agents: [one, two],
    });
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).not.toContain('RUNNING');
    // Of the other kernel too, if the end of the session broke its creation off.
    expect(manager.failures.join()).toMatch(/^create_kernels: .*(exited|runtime)/);
    manager.failures.length = 0;
  }, 120_000);

  test('a session that is ended while it is being created ends once, and nothing of it is left', async () => {
    const session = manager.open({ image: options.image, labels, agents: [one] });
    await manager.reaches(session, 'CREATING');
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).not.toContain('RUNNING');
    manager.failures.length = 0;
  }, 120_000);

  options.more?.(() => ({ manager, daemon }));
}
