import { BackgroundTasks } from '../../../src/agent/background-tasks.js';
import { systemClock } from '../../../src/core/clock.js';
import { deferred } from '../../../src/core/async.js';
import { CancelledError, RuntimeError } from '../../../src/core/errors.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';
import { eventually } from '../../support/eventually.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const agentId = parseAgentId('i-tasks');
const make = (events = new RecordedEvents()) => {
  const logger = new RecordedLog();
  const metrics = new PrometheusMetrics();
  return {
    events,
    logger,
    metrics,
    tasks: new BackgroundTasks({ agentId, events, clock: systemClock, logger, metrics }),
  };
};

test('a task announces its start, its progress and one end, then it is forgotten', async () => {
  const { tasks, events } = make();
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const taskId = tasks.start('pull', 'work', async (_signal, report) => {
    await report(1, 2, 'half');
    await gate;
    return 'all of it';
  });
  expect(tasks.size).toBe(1);
  go();
  await tasks.close();
  expect(tasks.size).toBe(0);
  const [first, second] = events.named('bgtask_updated');
  expect(first).toMatchObject({ taskId, current: 0, total: 0, message: 'Task started' });
  expect(second).toMatchObject({ taskId, current: 1, total: 2, message: 'half' });
  expect(events.named('bgtask_done')).toMatchObject([{ taskId, message: 'all of it' }]);
});

test('a failure is told with its name', async () => {
  const { tasks, events } = make();
  tasks.start('pull', 'work', () => Promise.reject(new RuntimeError('no space')));
  while (tasks.size > 0) await new Promise(setImmediate);
  expect(events.named('bgtask_failed')).toMatchObject([{ message: "RuntimeError('no space')" }]);
});

test('closing cancels what runs', async () => {
  const { tasks, events } = make();
  tasks.start(
    'pull',
    'work',
    (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new CancelledError('stopped'));
        });
      }),
  );
  await new Promise(setImmediate);
  await tasks.close();
  expect(events.names).toEqual(['bgtask_updated', 'bgtask_cancelled']);
});

test('an event that cannot be written harms nobody: it is logged, and the task is over', async () => {
  class Full extends RecordedEvents {
    override publish(): Promise<void> {
      return Promise.reject(new Error('disk full'));
    }
  }
  const { tasks, logger } = make(new Full());
  tasks.start('pull', 'work', () => Promise.resolve(null));
  while (tasks.size > 0) await new Promise(setImmediate);
  expect(logger.lines.map(({ message }) => message)).toContain('end of a background task not announced');
});

test('tasks are counted while they run and by their end, in the names of the original', async () => {
  const { tasks, metrics } = make();
  const gate = deferred<null>();
  tasks.start('pull', 'an image', () => gate.promise);
  tasks.start('commit', 'a kernel', () => Promise.reject(new RuntimeError('no space')));
  await eventually(() => {
    expect(tasks.size).toBe(1);
  });
  const during = await metrics.text();
  expect(during).toContain('backendai_bgtask_count{task_name="_pull"} 1\n');
  expect(during).toContain('backendai_bgtask_count{task_name="_commit"} 0\n');
  gate.resolve(null);
  await tasks.close();
  const after = await metrics.text();
  expect(after).toContain('backendai_bgtask_count{task_name="_pull"} 0\n');
  const ended = (task: string, labels: string) =>
    `backendai_bgtask_done_count_total{task_name="${task}",status="${labels}"} 1\n`;
  expect(after).toContain(ended('_pull', 'bgtask_done",domain="",operation="",error_detail="'));
  expect(after).toContain(
    ended('_commit', 'bgtask_failed",domain="bgtask",operation="execute",error_detail="internal-error'),
  );
  expect(after).toMatch(/^backendai_bgtask_processing_time_sec_count\{task_name="_pull",.*\} 1$/m);
});
