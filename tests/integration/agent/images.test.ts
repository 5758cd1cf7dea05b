import { eventually } from '../../support/eventually.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { ManualClock } from '../../support/manual-clock.js';
import { AgentBench } from './agent-bench.js';

const CANONICAL = 'registry.example/mine/python:3.13';
let backend: FaultyBackend;
let bench: AgentBench;

beforeEach(async () => {
  backend = new FaultyBackend();
  bench = await AgentBench.start(backend, { clock: new ManualClock() });
});
afterEach(async () => {
  backend.faults.heal();
  await bench.stop();
  await bench.remove();
});

const push = (isLocal = false) => bench.agent.pushImage({ canonical: CANONICAL, isLocal, registry: null });
const ended = (name: 'bgtask_done' | 'bgtask_failed', taskId: string) =>
  eventually(() => {
    expect(bench.events.named(name).map((event) => event.taskId)).toContain(taskId);
  });

test('a push answers with the id of its task, whose end is announced', async () => {
  const taskId = push();
  expect(taskId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  await ended('bgtask_done', taskId);
  backend.faults.fail('images.push');
  await ended('bgtask_failed', push());
  expect(backend.faults.passed.filter((point) => point === 'images.push')).toHaveLength(2);
});

test('of a local image nothing is pushed', async () => {
  await ended('bgtask_done', push(true));
  expect(backend.faults.passed).not.toContain('images.push');
});

test('a push that hangs does not keep the agent from stopping', async () => {
  const hang = backend.faults.hang('images.push');
  const taskId = push();
  await hang.entered;
  await bench.agent.stop();
  expect(bench.events.named('bgtask_cancelled').map((event) => event.taskId)).toEqual([taskId]);
});

test('a purge says for each image whether it is gone', async () => {
  backend.localImages.add('a:1').add('b:1');
  await expect(
    bench.agent.purgeImages(['a:1', 'c:1', 'b:1'], { force: false, noprune: false }),
  ).resolves.toEqual([
    { image: 'a:1', error: null },
    { image: 'c:1', error: 'no such image: c:1' },
    { image: 'b:1', error: null },
  ]);
  expect(backend.localImages.size).toBe(0);
});
