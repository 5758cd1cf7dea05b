import { BackgroundTasks } from '../../../src/agent/background-tasks.js';
import { ImagePushes } from '../../../src/agent/image-pushes.js';
import { systemClock } from '../../../src/core/clock.js';
import { noMetrics } from '../../../src/core/metrics.js';
import type { BackendImages } from '../../../src/backends/backend.js';
import { RuntimeError } from '../../../src/core/errors.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { eventually } from '../../support/eventually.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';

const IMAGE = {
  canonical: 'registry.example/mine/python:3.13',
  isLocal: false,
  registry: { name: 'registry.example', username: 'u', password: 'p' },
};

function pushing(pushTimeoutMs: number | null = null, images: Partial<BackendImages> = {}) {
  const agentId = parseAgentId('i-pushes');
  const events = new RecordedEvents();
  const backend = new FaultyBackend();
  const tasks = new BackgroundTasks({
    agentId,
    events,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const pushes = new ImagePushes({
    images: { ...backend.images, ...images },
    tasks,
    clock: new ManualClock(),
    pushTimeoutMs,
  });
  const end = () =>
    eventually(() => {
      expect(tasks.size).toBe(0);
    });
  return { events, tasks, pushes, faults: backend.faults, end };
}

test('a push is a task that tells how far it is and ends once', async () => {
  const asked: unknown[] = [];
  const { events, pushes, end } = pushing(null, {
    push: (image, _signal, onProgress) => {
      asked.push(image);
      onProgress?.({ current: 1, total: 4, message: '0 of 1 layers done' });
      onProgress?.({ current: 4, total: 4, message: '1 of 1 layers done' });
      return Promise.resolve();
    },
  });
  const taskId = pushes.start(IMAGE);
  await end();
  expect(asked).toEqual([{ canonical: IMAGE.canonical, registry: IMAGE.registry }]);
  expect(events.named('bgtask_updated')).toMatchObject([
    { taskId, current: 0, total: 0, message: 'Task started' },
    { taskId, current: 1, total: 4 },
    { taskId, current: 4, total: 4 },
  ]);
  expect(events.names.at(-1)).toBe('bgtask_done');
  expect(events.named('bgtask_done')).toMatchObject([{ taskId, message: null }]);
});

test('a local image is done without asking anybody', async () => {
  const { events, pushes, faults, end } = pushing();
  pushes.start({ ...IMAGE, isLocal: true });
  await end();
  expect(events.names).toEqual(['bgtask_updated', 'bgtask_done']);
  expect(faults.passed).toEqual([]);
});

test('a failure is told in words that managers look for', async () => {
  const { events, pushes, faults, end } = pushing();
  faults.fail('images.push', { error: new RuntimeError('Failed to push image: denied') });
  pushes.start(IMAGE);
  await end();
  expect(events.named('bgtask_failed')).toMatchObject([
    { message: "RuntimeError('Failed to push image: denied')" },
  ]);
});

test('a push that takes too long fails and is aborted', async () => {
  let aborted = false;
  const { events, pushes, end } = pushing(20, {
    push: (_image, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(new Error('aborted'));
        });
      }),
  });
  pushes.start(IMAGE);
  await end();
  expect(events.named('bgtask_failed')[0]?.message).toMatch(/^TimeoutError\('Failed to push image/);
  expect(aborted).toBe(true);
});

test('the end of the agent cancels a push', async () => {
  const { events, pushes, faults, tasks } = pushing();
  const hang = faults.hang('images.push');
  pushes.start(IMAGE);
  await hang.entered;
  await tasks.close();
  expect(events.names.at(-1)).toBe('bgtask_cancelled');
});
