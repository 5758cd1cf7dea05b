import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageRequest, KernelExit } from '../../../../src/backends/backend.js';
import type { DummySettings } from '../../../../src/backends/dummy/index.js';
import { FakeRunner } from '../../../../src/kernel-runner/fake-runner.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { RunnerLink } from '../../../../src/runner/link.js';
import { DummyBackendHarness, QUICK_SETTINGS } from '../../../support/dummy-backend.js';

const NEVER = new AbortController().signal;
const imageOf = (canonical: string): ImageRequest => ({
  canonical,
  digest: '',
  architecture: 'x86_64',
  isLocal: false,
  autoPull: 'tag',
  registry: null,
});

let harness: DummyBackendHarness;
const links: RunnerLink[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) await link.close();
  await harness[Symbol.asyncDispose]();
});

const open = async (changes: Partial<DummySettings> = {}, random = () => 0.5) => {
  harness = await DummyBackendHarness.make({ settings: { ...QUICK_SETTINGS, ...changes }, random });
  return harness.open();
};
const failing = (failures: Partial<DummySettings['failures']>): Partial<DummySettings> => ({
  failures: { ...QUICK_SETTINGS.failures, ...failures },
});
const delayed = (delaysMs: Partial<DummySettings['delaysMs']>): Partial<DummySettings> => ({
  delaysMs: { ...QUICK_SETTINGS.delaysMs, ...delaysMs },
});

async function linkTo(backend: Awaited<ReturnType<typeof open>>) {
  const plan = await harness.plan();
  const handle = await backend.create(plan, NEVER);
  const endpoints = await backend.start(handle, NEVER);
  const link = RunnerLink.connect({ kernelId: plan.kernelId, endpoints, logger: silentLogger });
  links.push(link);
  return { handle, link };
}

test('its runner says that code is not run, offers nothing, and starts any service', async () => {
  const { link } = await linkTo(await open());
  await link.waitReady({ timeoutMs: 10_000 });
  expect(await link.getApps()).toEqual({ status: 'done', error: null, apps: [] });
  const result = await link.execute({
    runId: 'r',
    mode: 'query',
    code: '1 + 1',
    opts: {},
    flushTimeoutMs: null,
    apiVersion: 2,
  });
  expect(result).toMatchObject({
    status: 'finished',
    exitCode: 0,
    console: [['stdout', 'not-implemented\n']],
  });
  expect(await link.complete('im')).toMatchObject({ status: 'finished', suggestions: [] });
  const service = { name: 'jupyter', port: 8080, ports: [8080], protocol: 'http', options: {} };
  expect(await link.startService(service)).toEqual({ status: 'started' });
});

test('a run that is to fail ends with status 1 and says why', async () => {
  const { link } = await linkTo(await open(failing({ execute: [2] })));
  const run = (runId: string) =>
    link.execute({ runId, mode: 'query', code: 'x', opts: {}, flushTimeoutMs: null, apiVersion: 1 });
  expect(await run('one')).toMatchObject({ status: 'finished', exitCode: 0, stderr: '' });
  expect(await run('two')).toMatchObject({
    status: 'finished',
    exitCode: 1,
    stdout: 'not-implemented\n',
    stderr: expect.stringContaining('agent.dummy.toml') as unknown,
  });
  expect(await run('three')).toMatchObject({ exitCode: 0 });
});

test('a service that was started runs until it is shut down', async () => {
  const { link } = await linkTo(await open());
  const service = { name: 'jupyter', port: 8080, ports: [8080], protocol: 'http', options: {} };
  expect(await link.startService(service)).toEqual({ status: 'started' });
  expect(await link.startService(service)).toEqual({ status: 'running' });
  await link.shutdownService('jupyter');
  expect(await link.startService(service)).toEqual({ status: 'started' });
});

test('an image has a command, for models that are served by it', async () => {
  const { images } = await open();
  expect(await images.command?.({ canonical: 'a', isLocal: false })).toHaveLength(1);
});

test('transfers that a list names fail, and the next ones do not', async () => {
  const { images } = await open(failing({ pull: [1], push: [1] }));
  const failure = { code: 'BACKEND_DUMMY_FAILURE' };
  await expect(images.pull(imageOf('a'), NEVER)).rejects.toMatchObject(failure);
  await images.pull(imageOf('a'), NEVER);
  await expect(images.push({ canonical: 'a', registry: null }, NEVER)).rejects.toMatchObject(failure);
  await images.push({ canonical: 'a', registry: null }, NEVER);
});

test('a commit that is to fail makes no image', async () => {
  const backend = await open({
    ...failing({ commit: [1] }),
    images: { present: [], pullable: ['made:1'], missing: [] },
  });
  const handle = await backend.create(await harness.plan(), NEVER);
  const image = { canonical: 'made:1', labels: {} };
  await expect(backend.commit(handle, image, NEVER)).rejects.toMatchObject({ code: 'BACKEND_DUMMY_FAILURE' });
  expect(await backend.images.isAvailable(imageOf('made:1'))).toBe(false);
  await backend.commit(handle, image, NEVER);
  expect(await backend.images.isAvailable(imageOf('made:1'))).toBe(true);
});

test('a runner that is to fail never answers', async () => {
  const { link } = await linkTo(await open(failing({ runner: 1 })));
  expect(await link.status({ timeoutMs: 100 })).toBeNull();
});

test('a real runner is expected at the places of the original', async () => {
  const backend = await open({ usesFakeRunner: false });
  const handle = await backend.create(await harness.plan(), NEVER);
  expect(await backend.start(handle, NEVER)).toEqual({
    replIn: 'tcp://127.0.0.1:2000',
    replOut: 'tcp://127.0.0.1:2001',
  });
});

test('the calls of a list fail, by number, and leave what a failure leaves', async () => {
  const backend = await open(failing({ create: [1], start: [1], stop: [1], remove: [1] }));
  const plan = await harness.plan();
  const failure = { code: 'BACKEND_DUMMY_FAILURE', retryable: true };
  await expect(backend.create(plan, NEVER)).rejects.toMatchObject(failure);
  expect(await harness.leftovers()).toEqual([]);
  const handle = await backend.create(plan, NEVER);
  await expect(backend.start(handle, NEVER)).rejects.toMatchObject(failure);
  expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: null });
  await backend.start(handle, NEVER);
  await expect(backend.stop(handle, { graceMs: 0 })).rejects.toMatchObject(failure);
  expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
  await expect(backend.remove(handle)).rejects.toMatchObject(failure);
  await backend.remove(handle);
  expect(await harness.leftovers()).toEqual([]);
});

test.each([
  [0.49, 'rejected'],
  [0.5, 'fulfilled'],
])('a chance of one half strikes at %d: %s', async (drawn, status) => {
  const backend = await open(failing({ create: 0.5 }), () => drawn);
  const [outcome] = await Promise.allSettled([backend.create(await harness.plan(), NEVER)]);
  expect(outcome.status).toBe(status);
});

test('a kernel that is given less time than it needs is killed', async () => {
  const backend = await open(delayed({ 'destroy-kernel': 600_000 }));
  const exits: KernelExit[] = [];
  backend.onExit((exit) => exits.push(exit));
  const handle = await backend.create(await harness.plan(), NEVER);
  await backend.start(handle, NEVER);
  await backend.stop(handle, { graceMs: 10 });
  expect(exits).toMatchObject([{ exitCode: -9 }]);
});

test('images: present without a pull, pullable after one, missing for ever', async () => {
  const { images } = await open({ images: { present: ['a'], pullable: ['b'], missing: ['c'] } });
  const available = (name: string) => images.isAvailable(imageOf(name));
  expect(await Promise.all(['a', 'b', 'c', 'other'].map(available))).toEqual([true, false, false, true]);
  await images.pull(imageOf('b'), NEVER);
  expect(await available('b')).toBe(true);
  await expect(images.pull(imageOf('c'), NEVER)).rejects.toMatchObject({ code: 'IMAGE_NOT_AVAILABLE' });
  await expect(images.pull(imageOf('a'), AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' });
  await images.remove('a', { force: false, isPruningParents: false });
  expect(await available('a')).toBe(false);
  await expect(images.remove('a', { force: true, isPruningParents: false })).rejects.toMatchObject({
    code: 'IMAGE_NOT_AVAILABLE',
  });
});

test('a commit makes an image of the name, and fails when the kernel ends meanwhile', async () => {
  const backend = await open();
  const handle = await backend.create(await harness.plan(), NEVER);
  await backend.start(handle, NEVER);
  const id = await backend.commit(handle, { canonical: 'made:1', labels: {} }, NEVER);
  expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
  let bytes = 0;
  for await (const chunk of await backend.images.export(id, NEVER)) bytes += chunk.length;
  expect(bytes).toBe(1024);

  const slow = await harness.open({ settings: { ...QUICK_SETTINGS, ...delayed({ commit: 50 }) } });
  const commit = slow.commit(handle, { canonical: null, labels: {} }, NEVER);
  const [outcome] = await Promise.allSettled([commit, backend.stop(handle, { graceMs: 0 })]);
  expect(outcome).toMatchObject({ reason: { code: 'BACKEND_KERNEL_MISSING' } });
});

test('another process finds what this one has left, a damaged file aside', async () => {
  const backend = await open();
  const [plan, ended] = [await harness.plan(), await harness.plan()];
  const handles = [await backend.create(plan, NEVER), await backend.create(ended, NEVER)] as const;
  await backend.start(handles[0], NEVER);
  await backend.start(handles[1], NEVER);
  await harness.stub(ended).ready();
  await harness.stub(ended).order('exit 3');
  await backend.close();
  await writeFile(join(harness.root, 'state', 'broken.json'), '{');

  const later = await harness.open({ containers: harness.another() });
  expect(await later.inspect(handles[0])).toMatchObject({ status: 'running' });
  expect(await later.inspect(handles[1])).toMatchObject({ status: 'exited', exitCode: 3 });
  expect(new Set(await later.list(plan.agentId))).toEqual(new Set(handles));
});

test('a closed runner answers nobody', async () => {
  harness = await DummyBackendHarness.make();
  const delays = { statusMs: 0, completionMs: 0, startServiceMs: 0, startModelServiceMs: 0, appsMs: 0 };
  const runner = await FakeRunner.open({
    startedAtSec: 1,
    isSilent: false,
    delays: { ...delays, executeMs: 0 },
  });
  runner.close();
  runner.close();
  const plan = await harness.plan();
  const link = RunnerLink.connect({
    kernelId: plan.kernelId,
    endpoints: runner.endpoints,
    logger: silentLogger,
  });
  links.push(link);
  expect(await link.status({ timeoutMs: 50 })).toBeNull();
});
