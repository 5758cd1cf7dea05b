import { randomUUID } from 'node:crypto';
import type { ManagerVersion } from '../../../src/config/types.js';
import { eventually } from '../../support/eventually.js';
import type { SessionContext } from './sessions.contract.js';

/** Sessions that do not come up, or are told to end more than once or too early. */
export function describeEnds(options: {
  readonly context: () => SessionContext;
  readonly line: ManagerVersion;
}): void {
  const { context } = options;
  const [one, two] = ['i-one', 'i-two'] as const;
  const broken = () => ({ ...context().labels, 'ai.backend.runtime-type': 'no-such-runtime' });
  const endsOf = (kernelId: string) =>
    context()
      .manager.heard.filter(({ name, args }) => name === 'kernel_terminated' && args[0] === kernelId)
      .map(({ args }) => args[2]);

  test('one kernel that cannot start: the others stay until the session is ended, by whom the manager says', async () => {
    const { manager, image, labels } = context();
    const session = manager.open({ image, labels, lastLabels: broken(), agents: [one, two] });
    if (options.line === '25.17') {
      const [first, second] = session.kernels;
      await eventually(() => {
        expect(manager.failures.join()).toMatch(/^create_kernels: .*(exited|runtime)/);
        expect(first?.status).toBe('RUNNING');
        expect(endsOf(second?.id ?? '')).toHaveLength(1);
      });
      expect(second?.status).toBe('CREATING');
      // The other kernel is there: such a session is not stuck.
      await manager.pass(10_000);
      expect(manager.creationsOf(session)).toBe(2);
      manager.terminate(session);
    }
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).not.toContain('RUNNING');
  }, 120_000);

  // A 26.x manager ends such a session as soon as it hears of the end of a kernel.
  if (options.line === '25.17')
    test('a kernel that fails to start is tried five times, goes back into the queue, and starts where it can', async () => {
      const { manager, image, labels, output } = context();
      const session = manager.open({ image, labels: broken(), agents: [one] });
      const [kernel] = session.kernels;
      for (let attempt = 1; attempt <= 5; attempt += 1) {
        await eventually(() => {
          expect(manager.failures).toHaveLength(attempt);
          expect(endsOf(kernel?.id ?? '')).toHaveLength(attempt);
        });
        expect(session.history.at(-1)).toBe('CREATING');
        await manager.pass(10_000);
      }
      expect(manager.creationsOf(session)).toBe(5);
      expect(session.history.at(-1)).toBe('PENDING');
      manager.reopen(session, { image, labels, agents: [two] });
      await manager.reaches(session, 'RUNNING');
      expect(await output(session, 0, 'echo here')).toBe('here');
      manager.terminate(session);
      await manager.reaches(session, 'TERMINATED');
    }, 120_000);

  test('a session that is ended while it is being created ends once, and nothing of it is left', async () => {
    const { manager, image, labels } = context();
    const session = manager.open({ image, labels, agents: [one] });
    await manager.reaches(session, 'CREATING');
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).not.toContain('RUNNING');
  }, 120_000);

  test('a session that is ended while its image is looked for makes no kernel', async () => {
    const { manager, image, labels } = context();
    const session = manager.open({ image, labels, agents: [one, two] });
    manager.terminate(session);
    await manager.reaches(session, 'TERMINATED');
    expect(session.history).toEqual(['PREPARING', 'TERMINATING', 'TERMINATED']);
    for (const { id } of session.kernels)
      expect(new Set(endsOf(id))).toEqual(new Set(['already-terminated']));
  }, 120_000);

  test('every repeated destroy is answered by an event, of a kernel that nobody knows too', async () => {
    const { manager, image, labels } = context();
    const session = manager.open({ image, labels, agents: [two] });
    await manager.reaches(session, 'RUNNING');
    const [kernel] = session.kernels;
    const destruction = { kernelId: kernel?.id ?? '', sessionId: session.id, reason: 'user-requested' };
    const client = manager.client(two);
    manager.terminate(session);
    await Promise.all([1, 2, 3].map(() => client.destroyKernel(destruction)));
    await manager.reaches(session, 'TERMINATED');
    const isReal = (reason: unknown) => reason !== 'already-terminated';
    expect(endsOf(destruction.kernelId).filter(isReal)).toEqual(['user-requested']);

    const stranger = { kernelId: randomUUID(), sessionId: randomUUID(), reason: 'user-requested' };
    for (const one of [destruction, stranger]) {
      const answered = endsOf(one.kernelId).length;
      for (let repeat = 1; repeat <= 3; repeat += 1) {
        await client.destroyKernel(one);
        await eventually(() => {
          expect(endsOf(one.kernelId)).toHaveLength(answered + repeat);
        });
      }
      expect(new Set(endsOf(one.kernelId).slice(-3))).toEqual(new Set(['already-terminated']));
    }
    expect(endsOf(destruction.kernelId).filter(isReal)).toHaveLength(1);
  }, 120_000);
}
