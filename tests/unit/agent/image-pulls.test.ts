import { BackgroundTasks } from '../../../src/agent/background-tasks.js';
import { ImagePulls } from '../../../src/agent/image-pulls.js';
import { systemClock } from '../../../src/core/clock.js';
import { noMetrics } from '../../../src/core/metrics.js';
import type { BackendImages } from '../../../src/backends/backend.js';
import { deferred } from '../../../src/core/async.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { ImagePullRequest } from '../../../src/kernels/requests.js';
import { eventually } from '../../support/eventually.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';

const AGENT = parseAgentId('i-one');
const IMAGE: ImagePullRequest = {
  canonical: 'registry.example/stable/python:3.13',
  project: 'stable',
  digest: 'sha256:1',
  architecture: 'x86_64',
  isLocal: false,
  autoPull: 'digest',
  registry: { name: 'registry.example', username: null, password: null },
};

function pulls(images: Partial<BackendImages>, pullTimeoutMs: number | null = null) {
  const events = new RecordedEvents();
  const tasks = new BackgroundTasks({
    agentId: AGENT,
    events,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const clock = new ManualClock();
  const backend: BackendImages = {
    ...new FaultyBackend().images,
    isAvailable: () => Promise.resolve(false),
    pull: () => Promise.resolve(),
    ...images,
  };
  return {
    events,
    tasks,
    imagePulls: new ImagePulls({ agentId: AGENT, images: backend, tasks, events, clock, pullTimeoutMs }),
  };
}

const ended = (events: RecordedEvents, count: number) =>
  eventually(() => {
    const ends = events.names.filter((name) => /^bgtask_(done|failed|cancelled)$/.test(name));
    expect(ends).toHaveLength(count);
  });

test('an image that is there is only announced', async () => {
  const { imagePulls, events } = pulls({ isAvailable: () => Promise.resolve(true) });
  const taskId = imagePulls.start(IMAGE);
  await ended(events, 1);
  expect(events.names).toEqual(['bgtask_updated', 'image_pull_finished', 'bgtask_done']);
  expect(events.named('image_pull_finished')[0]?.message).toBe('Image already exists');
  expect(events.named('bgtask_done')[0]?.taskId).toBe(taskId);
});

test('a second pull of the same image ends without image events of its own', async () => {
  const gate = deferred<undefined>();
  const { imagePulls, events } = pulls({ pull: () => gate.promise });
  imagePulls.start(IMAGE);
  await eventually(() => {
    expect(events.names).toContain('image_pull_started');
  });
  expect(imagePulls.isPulling(IMAGE.canonical)).toBe(true);
  imagePulls.start(IMAGE);
  await ended(events, 1);
  gate.resolve(undefined);
  await ended(events, 2);
  expect(events.named('image_pull_started')).toHaveLength(1);
  expect(events.named('image_pull_finished')).toHaveLength(1);
  expect(imagePulls.isPulling(IMAGE.canonical)).toBe(false);
});

test('policy none never pulls', async () => {
  const { imagePulls, events } = pulls({});
  imagePulls.start({ ...IMAGE, autoPull: 'none' });
  await ended(events, 1);
  expect(events.names).toEqual(['bgtask_updated', 'bgtask_failed']);
  expect(events.named('bgtask_failed')[0]?.message).toMatch(/^ImageNotAvailable\(/);
});

test('a failing pull says why, twice: for the kernels and for the task', async () => {
  const { imagePulls, events } = pulls({ pull: () => Promise.reject(new Error('no route to registry')) });
  imagePulls.start(IMAGE);
  await ended(events, 1);
  expect(events.named('image_pull_failed')[0]?.message).toBe('no route to registry');
  expect(events.names.at(-1)).toBe('bgtask_failed');
});

test('a pull that takes too long is aborted', async () => {
  let aborted = false;
  const { imagePulls, events } = pulls(
    {
      pull: (_image, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(new Error('aborted'));
          });
        }),
    },
    20,
  );
  imagePulls.start(IMAGE);
  await ended(events, 1);
  expect(events.named('image_pull_failed')[0]?.message).toBe('timeout (s:0.02)');
  expect(aborted).toBe(true);
});

test('a pull tells how far it is, before its outcome', async () => {
  const { imagePulls, events } = pulls({
    pull: (_image, _signal, onProgress) => {
      for (let current = 1; current <= 100; current += 1)
        onProgress?.({ current, total: 100, message: '0 of 1 layers done' });
      return Promise.resolve();
    },
  });
  const taskId = imagePulls.start(IMAGE);
  await ended(events, 1);
  expect(events.names).toEqual([
    'bgtask_updated',
    'image_pull_started',
    'bgtask_updated',
    'bgtask_updated',
    'image_pull_finished',
    'bgtask_done',
  ]);
  // Not each of the hundred: time has not moved.
  expect(events.named('bgtask_updated').slice(1)).toMatchObject([
    { taskId, current: 1, total: 100 },
    { taskId, current: 100, total: 100 },
  ]);
});

test('closing cancels what runs and announces it', async () => {
  const { imagePulls, events, tasks } = pulls({ pull: () => new Promise(() => undefined) });
  imagePulls.start(IMAGE);
  await eventually(() => {
    expect(events.names).toContain('image_pull_started');
  });
  await tasks.close();
  expect(events.names.at(-1)).toBe('bgtask_cancelled');
  expect(tasks.size).toBe(0);
});
