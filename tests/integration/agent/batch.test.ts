import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../../src/core/clock.js';
import type { KernelId } from '../../../src/core/ids.js';
import { REQUEST, RESPONSE } from '../../../src/kernel-runner/messages.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { eventually } from '../../support/eventually.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ManualClock } from '../../support/manual-clock.js';
import { AgentBench, NEVER } from './agent-bench.js';

let runners: FakeRunners;
let backend: FaultyBackend;
let clock: ManualClock;
let bench: AgentBench;
let request: KernelCreationRequest;

beforeEach(async () => {
  runners = new FakeRunners();
  backend = new FaultyBackend();
  backend.endpointsOf = runners.endpointsOf;
  clock = new ManualClock();
  bench = await AgentBench.start(backend, { clock });
  request = kernelRequest();
  await bench.agent.createKernels([request], NEVER);
});
afterEach(async () => {
  await bench.stop();
  await bench.remove();
  await runners[Symbol.asyncDispose]();
});

const trigger = (timeoutMs: number | null = null, code = 'train.sh') => {
  const { kernelId, sessionId } = request;
  return bench.agent.triggerBatchExecution({ kernelId, sessionId, code, timeoutMs });
};
const runner = () => runners.of(request.kernelId);
const outcomes = () =>
  bench.events.published.flatMap(({ event }) =>
    event.name === 'session_success' || event.name === 'session_failure' ? [event] : [],
  );
/** The one outcome, once it is out and the job forgotten. */
const outcome = () =>
  eventually(async () => {
    expect(outcomes()).toHaveLength(1);
    expect(await records()).toEqual([]);
    return outcomes()[0];
  });
const directory = () => join(AgentBench.stateDirectoryOf(bench.directory, bench.agent.id), 'batch');
const records = () => readdir(directory()).catch(() => []);
const record = async (kernelId: KernelId = request.kernelId): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(directory(), `${kernelId}.json`), 'utf8')) as Record<string, unknown>;
const writeRecord = async (changes: Record<string, unknown>, kernelId: KernelId = request.kernelId) => {
  const { sessionId } = request;
  const plain = { version: 1, kernelId, sessionId, code: 'train.sh', deadlineMs: null, outcome: null };
  await mkdir(directory(), { recursive: true });
  await writeFile(join(directory(), `${kernelId}.json`), JSON.stringify({ ...plain, ...changes }));
};
/** The daemon starts again and finds what the one before has left. */
const restartDaemon = async (
  between: () => Promise<void> | void = () => undefined,
  ownClock: Clock = clock,
) => {
  await bench.stop();
  await between();
  bench = await AgentBench.start(backend, { clock: ownClock, directory: bench.directory });
};
const texts = (type: string) =>
  runner()
    .received.filter((message) => message.type === type)
    .map(({ payload }) => Buffer.from(payload).toString());

test.each([
  [0, { name: 'session_success', reason: 'task-finished', exitCode: 0 }],
  [3, { name: 'session_failure', reason: 'task-failed', exitCode: 3 }],
])('a command that exits with %i', async (exitCode, expected) => {
  await trigger();
  await runner().heard(REQUEST.exec);
  runner().finish(exitCode);
  expect(await outcome()).toEqual({ ...expected, sessionId: request.sessionId });
  expect(texts(REQUEST.clean)).toEqual(['']);
  expect(texts(REQUEST.build)).toEqual(['']);
  expect(texts(REQUEST.exec)).toEqual(['train.sh']);
  expect(bench.events.names).toContain('execution_started');
  expect(bench.events.names.filter((name) => name === 'execution_finished')).toHaveLength(1);
  expect(bench.agent.isRunning(request.kernelId)).toBe(true);
});

test('a second job while the first one runs is refused; afterwards another one is welcome', async () => {
  await trigger();
  await trigger(null, 'other.sh');
  await runner().heard(REQUEST.exec);
  runner().finish(0);
  await outcome();
  expect(texts(REQUEST.exec)).toEqual(['train.sh']);
  expect(bench.log.lines.map(({ message }) => message)).toContain('batch job refused');

  await trigger(null, 'third.sh');
  await runner().heard(REQUEST.exec, 2);
  expect(texts(REQUEST.exec)).toEqual(['train.sh', 'third.sh']);
});

test('the same job once more is refused, also when it has ended', async () => {
  await trigger();
  await runner().heard(REQUEST.exec);
  runner().finish(0);
  await outcome();
  await trigger();
  expect(bench.log.lines.map(({ message }) => message)).toContain('batch job refused');
  expect(await records()).toEqual([]);
  expect(texts(REQUEST.exec)).toEqual(['train.sh']);
});

test('a job for a kernel that is not here is only logged', async () => {
  const { sessionId } = request;
  const { kernelId } = kernelRequest();
  await bench.agent.triggerBatchExecution({ kernelId, sessionId, code: 'x', timeoutMs: null });
  expect(bench.log.lines).toContainEqual(
    expect.objectContaining({ level: 'warn', message: 'batch job refused' }),
  );
  expect(await records()).toEqual([]);
});

test('a job that cannot be noted is refused and does not block the next one', async () => {
  // A file where the directory should be.
  await mkdir(dirname(directory()), { recursive: true });
  await writeFile(directory(), '');
  await expect(trigger()).rejects.toThrow(/EEXIST|ENOTDIR/);
  await rm(directory());
  await trigger();
  await runner().heard(REQUEST.exec);
  expect(texts(REQUEST.exec)).toEqual(['train.sh']);
});

test('time that is up is a failure, and the runner is not told', async () => {
  await trigger(60_000);
  await runner().heard(REQUEST.exec);
  clock.advance(59_999);
  expect(outcomes()).toEqual([]);
  clock.advance(1);
  expect(await outcome()).toMatchObject({ name: 'session_failure', reason: 'task-timeout', exitCode: -2 });
  expect(texts(REQUEST.interrupt)).toEqual([]);
});

test('no time at all is up at once; nothing is sent', async () => {
  await trigger(0);
  expect(await outcome()).toMatchObject({ name: 'session_failure', reason: 'task-timeout', exitCode: -2 });
  expect(texts(REQUEST.exec)).toEqual([]);
});

test('without a limit, or with one beyond what a timer can hold, a job may take a month', async () => {
  const month = 31 * 24 * 3_600_000;
  await trigger(month + 1);
  await runner().heard(REQUEST.exec);
  clock.advance(month);
  runner().finish(0);
  expect(await outcome()).toMatchObject({ name: 'session_success' });
});

test('a runner that stops the job by itself ends the session and the kernel', async () => {
  await trigger();
  await runner().heard(REQUEST.exec);
  await bench.agent.destroyKernel({ ...request, reason: null, suppressEvents: false });
  await eventually(async () => {
    expect(await records()).toEqual([]);
  });
  // Its end is told by the kernel's own event.
  expect(outcomes()).toEqual([]);
  expect(bench.events.names.at(-1)).toBe('kernel_terminated');
});

test('a restart of the kernel takes the job with it, and the manager is told', async () => {
  await trigger();
  await runner().heard(REQUEST.exec);
  await bench.agent.restartKernel({ ...request, updatedConfig: {} }, NEVER);
  expect(await outcome()).toMatchObject({ name: 'session_failure', reason: 'task-failed', exitCode: -1 });
  expect(texts(REQUEST.exec)).toEqual([]);
});

describe('over a restart of the daemon', () => {
  test('a job that was not sent is sent', async () => {
    await restartDaemon(() => writeRecord({ started: false }));
    await runner().heard(REQUEST.exec);
    runner().finish(0);
    expect(await outcome()).toMatchObject({ name: 'session_success' });
  });

  test('a job that runs is waited for and not sent again', async () => {
    await trigger();
    await runner().heard(REQUEST.exec);
    expect(await record()).toMatchObject({ started: true, outcome: null });
    await restartDaemon(() => {
      runner().pending = ['exec'];
    });
    runner().send(RESPONSE.cleanFinished);
    runner().finish(0);
    expect(await outcome()).toMatchObject({ name: 'session_success', exitCode: 0 });
    expect(texts(REQUEST.exec)).toEqual(['train.sh']);
  });

  test('a job that ended meanwhile, its result lost on the way, is told as it ended', async () => {
    await trigger();
    await runner().heard(REQUEST.exec);
    await restartDaemon(() => {
      runner().lastExec = 7;
    });
    expect(await outcome()).toMatchObject({ name: 'session_failure', reason: 'task-failed', exitCode: 7 });
  });

  test('the end of its time while nobody looked does not make a success a failure', async () => {
    await trigger(60_000);
    await runner().heard(REQUEST.exec);
    await restartDaemon(() => {
      clock.advance(120_000);
      runner().lastExec = 0;
    });
    expect(await outcome()).toMatchObject({ name: 'session_success' });
  });

  test('but time that is up is up', async () => {
    await trigger(60_000);
    await runner().heard(REQUEST.exec);
    await restartDaemon(() => {
      clock.advance(120_000);
      runner().pending = ['exec'];
    });
    await eventually(() => {
      expect(bench.events.names).toContain('execution_started');
    });
    clock.advance(5_000);
    expect(await outcome()).toMatchObject({ name: 'session_failure', reason: 'task-timeout' });
  });

  test.each([true, false])('an outcome that was known is told, kernel still here: %s', async (isHere) => {
    const known = { name: 'session_success', reason: 'task-finished', exitCode: 0 };
    await restartDaemon(async () => {
      await writeRecord({ started: true, outcome: known });
      if (!isHere) backend.vanish(request.kernelId);
    });
    expect(await outcome()).toEqual({ ...known, sessionId: request.sessionId });
  });

  test('the job of a kernel that has gone meanwhile is forgotten', async () => {
    await trigger();
    await runner().heard(REQUEST.exec);
    await restartDaemon(() => {
      backend.vanish(request.kernelId);
    });
    await eventually(async () => {
      expect(await records()).toEqual([]);
    });
    expect(outcomes()).toEqual([]);
    expect(bench.events.named('kernel_terminated')).toMatchObject([{ reason: 'container-not-found' }]);
  });

  test('a record that cannot be read is named, left alone and in nobody’s way', async () => {
    const { kernelId } = kernelRequest();
    await restartDaemon(async () => {
      await writeRecord({ started: false });
      await writeFile(join(directory(), `${kernelId}.json`), '{"version": 1, "kern');
    });
    expect(bench.log.lines).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'a batch job record cannot be read' }),
    );
    await runner().heard(REQUEST.exec);
    runner().finish(0);
    await eventually(async () => {
      expect(outcomes()).toHaveLength(1);
      expect(await records()).toEqual([`${kernelId}.json`]);
    });
  });

  test('a job accepted in the last moment is done by the next daemon, once', async () => {
    const accepted = trigger();
    await restartDaemon(() => accepted);
    await runner().heard(REQUEST.exec);
    runner().finish(0);
    expect(await outcome()).toMatchObject({ name: 'session_success' });
    expect(texts(REQUEST.exec)).toEqual(['train.sh']);
  });
});
