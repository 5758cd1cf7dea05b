import type { ManagerVersion } from '../../../src/config/types.js';
import { HEARTBEAT_TIMEOUT_MS, type AgentStatus } from '../../support/manager/agent-table.js';
import { eventually } from '../../support/eventually.js';
import type { SessionContext } from './sessions.contract.js';

const PATIENT = { timeoutMs: 60_000 };

/** Agents that are away for a while: their sessions go on, or are gone for the manager. */
export function describeAbsences(options: {
  readonly context: () => SessionContext;
  readonly line: ManagerVersion;
}): void {
  const { context } = options;
  const [one, two] = ['i-one', 'i-two'] as const;

  const open = async () => {
    const { manager, image, labels, output } = context();
    const session = manager.open({ image, labels, agents: [one, two] });
    await manager.reaches(session, 'RUNNING');
    await output(session, 1, 'echo kept >kept.txt');
    return session;
  };
  const expectAgents = (status: AgentStatus) => {
    const { manager } = context();
    expect([...manager.agents.rows.values()].map((row) => row.status)).toEqual([status, status]);
  };
  const become = (status: AgentStatus) =>
    eventually(() => {
      expectAgents(status);
    }, PATIENT);
  /** Also one that had sent a heartbeat which was not read yet. */
  const becomeLost = () =>
    eventually(async () => {
      await context().manager.pass(HEARTBEAT_TIMEOUT_MS + 1);
      expectAgents('LOST');
    }, PATIENT);
  const endsOf = (kernelId: string | undefined) =>
    context().manager.heard.filter(({ name, args }) => name === 'kernel_terminated' && args[0] === kernelId);

  test('an agent without heartbeats is LOST, and ALIVE with the next one: its sessions go on', async () => {
    const { manager, daemon, output } = context();
    const session = await open();
    await manager.pass(HEARTBEAT_TIMEOUT_MS);
    expectAgents('ALIVE');
    daemon.freeze();
    try {
      await becomeLost();
    } finally {
      daemon.thaw();
    }
    await become('ALIVE');
    expect(session.history.at(-1)).toBe('RUNNING');
    expect(await output(session, 1, 'cat kept.txt')).toBe('kept');
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
  }, 120_000);

  test('agents that stop are TERMINATED, and ALIVE when they return: their kernels are kept', async () => {
    const { manager, daemon, output } = context();
    const session = await open();
    expect(await daemon.stop()).toBe(0);
    await become('TERMINATED');
    // It has said that it leaves: nothing is missed.
    await manager.pass(HEARTBEAT_TIMEOUT_MS + 1);
    expectAgents('TERMINATED');
    await daemon.resume();
    await become('ALIVE');
    expect(session.history.at(-1)).toBe('RUNNING');
    expect(await output(session, 1, 'cat kept.txt')).toBe('kept');
    expect(session.kernels.map(({ id }) => endsOf(id).length)).toEqual([0, 0]);
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.kernels.map(({ id }) => endsOf(id).length)).toEqual([1, 1]);
  }, 120_000);

  test('a session that is ended while its agents are lost leaves nothing when they return', async () => {
    const { manager, daemon } = context();
    const session = await open();
    await daemon.kill();
    await becomeLost();
    manager.terminate(session);
    if (options.line === '25.17') {
      // Given up without a word of the agents; their lists of kernels tell what is left to purge.
      await manager.pass(1000);
      expect(session.history.at(-1)).toBe('TERMINATED');
    }
    const before = manager.heard.length;
    await daemon.resume();
    await become('ALIVE');
    await manager.reaches(session, 'TERMINATED');
    await eventually(async () => {
      for (const agentId of [one, two]) expect(await manager.client(agentId).listKernels()).toEqual([]);
    }, PATIENT);
    if (options.line === '25.17') {
      const listed = manager.heard
        .slice(before)
        .flatMap(({ name, args }) =>
          name === 'agent_status_heartbeat' ? (args[2] as readonly (readonly string[])[]) : [],
        );
      expect(listed.map(([kernelId]) => kernelId).sort()).toEqual(session.kernels.map(({ id }) => id).sort());
      expect(session.kernels.map(({ reason }) => reason)).toEqual(Array(2).fill('swept-lost-agent'));
    }
  }, 120_000);
}
