import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { KernelCommit } from '../../../src/agent/agent.js';
import type { KernelId } from '../../../src/core/ids.js';
import { eventually } from '../../support/eventually.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, type AgentBenchOptions, NEVER } from './agent-bench.js';

let runners: FakeRunners;
let backend: FaultyBackend;
let bench: AgentBench;
let kernelId: KernelId;
let sessionId: ReturnType<typeof kernelRequest>['sessionId'];

const open = async (options: AgentBenchOptions = {}) => {
  bench = await AgentBench.start(backend, options);
  const request = kernelRequest();
  ({ kernelId, sessionId } = request);
  await bench.agent.createKernels([request], NEVER);
};

beforeEach(async () => {
  runners = new FakeRunners();
  backend = new FaultyBackend();
  backend.endpointsOf = runners.endpointsOf;
  await open();
});
afterEach(async () => {
  backend.faults.heal();
  await bench.stop();
  await bench.remove();
  await runners[Symbol.asyncDispose]();
});

const root = () => join(bench.directory, 'commits');
const commit = (changes: Partial<KernelCommit> = {}) =>
  bench.agent.commit({
    ...{ kernelId, subdir: 'user', canonical: null, filename: null, extraLabels: {} },
    ...changes,
  });
const destroy = () => bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
const endOf = (taskId: string) =>
  eventually(() => {
    const end = [
      ...bench.events.named('bgtask_done'),
      ...bench.events.named('bgtask_failed'),
      ...bench.events.named('bgtask_cancelled'),
    ].filter((event) => event.taskId === taskId);
    expect(end).toHaveLength(1);
    return end[0];
  });
const status = (subdir = 'user') => bench.agent.commitStatus(kernelId, subdir);
/** Nothing is held, and of what was to be written nothing is there. */
const nothingIsLeft = async (files: readonly string[] = []) => {
  expect(await status()).toBe('ready');
  expect(bench.agent.committing.size).toBe(0);
  expect((await readdir(join(root(), 'user'))).sort()).toEqual([...files, 'lock'].sort());
  expect(await readdir(join(root(), 'user', 'lock'))).toEqual([]);
};

test('a commit to an image leaves it under its name', async () => {
  const { taskId, path } = await commit({ canonical: 'localhost:5000/user/python:mine' });
  expect(path).toBeNull();
  expect(taskId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done', message: null });
  expect([...backend.localImages]).toContain('localhost:5000/user/python:mine');
  await nothingIsLeft();
});

test('its progress is told from the beginning to the end', async () => {
  await endOf((await commit({ filename: 'a.tar.gz' })).taskId);
  expect(
    bench.events.named('bgtask_updated').map(({ current, total, message }) => [current, total, message]),
  ).toEqual([
    [0, 0, 'Task started'],
    [0, 2, 'Making an image of the container'],
    [1, 2, 'Writing the image to a file'],
    [2, 2, 'Committed'],
  ]);
});

test('a commit to a file is compressed, whole, and leaves no image, whatever name is given', async () => {
  const before = [...backend.localImages];
  const { taskId, path } = await commit({ canonical: 'localhost/test/python:1', filename: 'a.tar.gz' });
  expect(path).toBe('user/a.tar.gz');
  expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done' });
  expect(gunzipSync(await readFile(join(root(), 'user', 'a.tar.gz'))).toString()).toBe('an image');
  expect([...backend.localImages]).toEqual(before);
  await nothingIsLeft(['a.tar.gz']);
});

test('a second commit at the same time does nothing, and lock and state of the first stay', async () => {
  const hang = backend.faults.hang('backend.commit');
  const first = await commit({ canonical: 'first:1' });
  await hang.entered;
  expect(await status()).toBe('ongoing');
  const second = await commit({ canonical: 'second:1' });
  expect(await endOf(second.taskId)).toMatchObject({
    name: 'bgtask_done',
    message: 'A commit of this kernel is under way already',
  });
  expect(await status()).toBe('ongoing');
  expect([...bench.agent.committing]).toEqual([kernelId]);
  expect(await readdir(join(root(), 'user', 'lock'))).toEqual([kernelId]);
  hang.release();
  expect(await endOf(first.taskId)).toMatchObject({ name: 'bgtask_done', message: null });
  expect([...backend.localImages]).toContain('first:1');
  expect([...backend.localImages]).not.toContain('second:1');
  await nothingIsLeft();
});

test('commits of one kernel to two directories come one after another', async () => {
  const hang = backend.faults.hang('backend.commit');
  const first = await commit();
  await hang.entered;
  const second = await commit({ subdir: 'other' });
  await eventually(async () => {
    expect(await status('other')).toBe('ongoing');
  });
  expect(backend.faults.passed.filter((point) => point === 'backend.commit')).toHaveLength(1);
  hang.release();
  for (const { taskId } of [first, second])
    expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done', message: null });
});

test('a kernel that is destroyed meanwhile makes it fail, and the kernel does not wait', async () => {
  const hang = backend.faults.hang('backend.commit');
  const { taskId } = await commit({ filename: 'a.tar.gz' });
  await hang.entered;
  await destroy();
  expect(await endOf(taskId)).toMatchObject({
    name: 'bgtask_failed',
    message: expect.stringContaining('the kernel was ended meanwhile') as unknown,
  });
  expect(bench.agent.committing.size).toBe(0);
  expect(await readdir(join(root(), 'user', 'lock'))).toEqual([]);
});

test('a kernel that is destroyed while its image is written to a file leaves the file', async () => {
  const hang = backend.faults.hang('images.export');
  const { taskId } = await commit({ filename: 'a.tar.gz' });
  await hang.entered;
  await destroy();
  hang.release();
  expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done' });
  expect(existsSync(join(root(), 'user', 'a.tar.gz'))).toBe(true);
});

test('a commit that takes too long is a failure and says so', async () => {
  await bench.stop();
  await bench.remove();
  await open({ commits: { timeoutMs: 30 } });
  backend.faults.hang('backend.commit');
  const { taskId } = await commit({ canonical: 'late:1' });
  expect(await endOf(taskId)).toMatchObject({
    name: 'bgtask_failed',
    message: expect.stringMatching(/^TimeoutError\('commit of kernel .*30 ms/) as unknown,
  });
  await nothingIsLeft();
});

test.each(['backend.commit', 'images.export'])(
  'a failure at %s leaves neither file nor lock, and the next commit works',
  async (point) => {
    const images = backend.localImages.size;
    backend.faults.fail(point);
    const failed = await endOf((await commit({ filename: 'a.tar.gz' })).taskId);
    expect(failed).toMatchObject({ name: 'bgtask_failed' });
    await nothingIsLeft();
    expect(backend.localImages.size).toBe(images);
    expect(await endOf((await commit({ filename: 'a.tar.gz' })).taskId)).toMatchObject({
      name: 'bgtask_done',
    });
  },
);

test('an image that cannot be removed after its export is no failure of the commit', async () => {
  backend.faults.fail('images.remove');
  expect(await endOf((await commit({ filename: 'a.tar.gz' })).taskId)).toMatchObject({ name: 'bgtask_done' });
  expect(bench.log.lines.map(({ message }) => message)).toContain(
    'the image of a commit to a file is not removed',
  );
});

test('an agent that stops cancels it, and nothing is left', async () => {
  const hang = backend.faults.hang('images.export');
  const { taskId } = await commit({ filename: 'a.tar.gz' });
  await hang.entered;
  await bench.agent.stop();
  expect(bench.events.named('bgtask_cancelled')).toMatchObject([{ taskId }]);
  await nothingIsLeft();
});

test('what a killed daemon left is gone after the next start, and a commit works', async () => {
  await bench.stop();
  const lock = join(root(), 'user', 'lock', kernelId);
  await mkdir(join(root(), 'user', 'lock'), { recursive: true });
  // No process has this id for long enough to matter, and this start was never any.
  await writeFile(lock, JSON.stringify({ agentId: 'i-one', kernelId, pid: 2 ** 22 - 1, start: 'boot/1' }));
  await writeFile(join(root(), 'user', `.${kernelId}.partial`), 'half');
  const image = `splenium-commit:${kernelId}`;
  backend.localImages.add(image);
  bench = await AgentBench.start(backend, { directory: bench.directory });
  await nothingIsLeft();
  await eventually(() => {
    expect([...backend.localImages]).not.toContain(image);
  });
  expect(await endOf((await commit()).taskId)).toMatchObject({ name: 'bgtask_done', message: null });
});

test('a kernel that is not here is the failure of the task, and a KeyError for its state', async () => {
  const unknown = kernelRequest().kernelId;
  expect(await endOf((await commit({ kernelId: unknown })).taskId)).toMatchObject({
    name: 'bgtask_failed',
    message: `KeyError('${unknown}')`,
  });
  await expect(bench.agent.commitStatus(unknown, 'user')).rejects.toMatchObject({ pythonName: 'KeyError' });
});

test('paths that lead outside are refused before anything happens', async () => {
  await expect(commit({ subdir: '../other' })).rejects.toMatchObject({ pythonName: 'PermissionError' });
  await expect(commit({ filename: '../../x' })).rejects.toMatchObject({ pythonName: 'PermissionError' });
  await expect(status('..')).rejects.toMatchObject({ pythonName: 'PermissionError' });
  expect(existsSync(root())).toBe(false);
});

test('a directory that is a link to elsewhere fails the task', async () => {
  await mkdir(root(), { recursive: true });
  const outside = join(bench.directory, 'outside');
  await mkdir(outside);
  await symlink(outside, join(root(), 'user'));
  expect(await endOf((await commit({ filename: 'a.tar.gz' })).taskId)).toMatchObject({
    name: 'bgtask_failed',
    message: expect.stringMatching(/^PermissionError\(/) as unknown,
  });
  expect(await readdir(outside)).toEqual([]);
  await rm(join(root(), 'user'));
});

test('without images there is nothing to commit', async () => {
  await bench.stop();
  await bench.remove();
  await open({ commits: { root: null } });
  expect(await status()).toBe('ready');
  await expect(commit({ subdir: '../other' })).rejects.toMatchObject({ pythonName: 'PermissionError' });
  expect(await endOf((await commit()).taskId)).toMatchObject({
    name: 'bgtask_failed',
    message: expect.stringContaining('NotImplementedError') as unknown,
  });
  expect(existsSync(root())).toBe(false);
});
