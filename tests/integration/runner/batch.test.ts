import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunnerLink } from '../../../src/runner/index.js';
import {
  bundleRunner,
  execute,
  PATIENCE_MS,
  RunnerProcess,
  textOf,
  untilFinished,
} from './runner-process.js';

const KERNEL = '0123456789abcdef0123456789abcdef';
let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;

beforeAll(async () => {
  bundle = await bundleRunner();
});
afterAll(() => bundle.remove());
beforeEach(async () => {
  runner = await RunnerProcess.start({
    bundle: bundle.path,
    runtime: 'python',
    environment: { BACKENDAI_KERNEL_ID: KERNEL },
  });
  link = runner.link();
  await link.waitReady({ timeoutMs: PATIENCE_MS });
});
afterEach(() => runner.stop());

async function batch(opts: Record<string, string | null>) {
  return untilFinished(link, await execute(link, { mode: 'batch', opts }));
}

/** Statuses and exit codes, which is what a client decides by. */
const steps = (results: readonly { status: string; exitCode: number | null }[]) =>
  results
    .filter(({ status }) => status !== 'continued')
    .map(({ status, exitCode }) => [status, exitCode] as const);

test('three empty steps give three results', async () => {
  expect(steps(await batch({}))).toEqual([
    ['clean-finished', 0],
    ['build-finished', 0],
    ['finished', 0],
  ]);
});

test('each step has its own output and exit code', async () => {
  const results = await batch({ clean: 'echo c; false', build: 'echo b', exec: 'echo e; exit 3' });
  expect(steps(results)).toEqual([
    ['clean-finished', 1],
    ['build-finished', 0],
    ['finished', 3],
  ]);
  expect(results.map((result) => textOf(result, 'stdout'))).toEqual(['c\n', 'b\n', 'e\n']);
});

test('after a failing build the program is not started, and the next batch works', async () => {
  const results = await batch({ build: 'exit 2', exec: 'echo started' });
  expect(steps(results)).toEqual([
    ['clean-finished', 0],
    ['build-finished', 2],
    ['finished', 127],
  ]);
  expect(results.map((result) => textOf(result, 'stdout')).join('')).toBe('');
  expect(steps(await batch({ exec: 'true' })).at(-1)).toEqual(['finished', 0]);
});

test('a client that comes back late loses nothing', async () => {
  const first = await execute(link, { mode: 'batch', opts: { exec: 'echo one; echo two >&2' } });
  const other = await execute(link, { code: 'print("after")' });
  expect(other.console).toEqual([['stdout', 'after\n']]);
  const results = await untilFinished(link, first);
  expect(steps(results).at(-1)).toEqual(['finished', 0]);
  expect(textOf(results[2] ?? first, 'stdout')).toBe('one\n');
  expect(textOf(results[2] ?? first, 'stderr')).toBe('two\n');
});

test('a program that dies of a signal has a negative exit code', async () => {
  expect(steps(await batch({ exec: 'kill -9 $$' })).at(-1)).toEqual(['finished', -9]);
});

// Python tells when it is there; a dash that gets the signal while it starts a program would swallow it.
const PATIENT = `python3 -c "import time; print('up', flush=True); time.sleep(1000)"`;

test.each([`exec ${PATIENT}`, `${PATIENT}; echo never`])('an interrupt ends %p', async (exec) => {
  const first = await execute(link, { mode: 'batch', opts: { exec } });
  await execute(link, { runId: first.runId, mode: 'continue' });
  let text = '';
  while (!text.includes('up')) {
    const some = await execute(link, { runId: first.runId, mode: 'continue', flushTimeoutMs: 20 });
    text += textOf(some, 'stdout');
  }
  await link.interrupt();
  const last = await execute(link, { runId: first.runId, mode: 'continue' });
  expect(last).toMatchObject({ status: 'finished', exitCode: -2 });
  expect(textOf(last, 'stdout')).toBe('');
});

test('a background child that keeps stdout open delays the result', async () => {
  const results = await batch({ exec: '(sleep 0.3; echo late) & echo early' });
  expect(results.map((result) => textOf(result, 'stdout')).join('')).toBe('early\nlate\n');
});

test('a batch program in Python asks for input', async () => {
  await writeFile(join(runner.directory.work, 'main.py'), 'print("got", input("give: "))\n');
  let last = await execute(link, { mode: 'batch', opts: { exec: '*' } });
  let text = textOf(last, 'stdout');
  while (last.status !== 'finished') {
    const answer = last.status === 'waiting-input' ? { mode: 'input', code: 'this' } : { mode: 'continue' };
    if (last.status === 'waiting-input') expect(last.options).toEqual({});
    last = await execute(link, { runId: last.runId, ...answer });
    text += textOf(last, 'stdout');
  }
  expect(text).toBe('give: got this\n');
  expect(last.exitCode).toBe(0);
});

test('built-in rules: a missing main script is 127 and says why', async () => {
  const results = await batch({ clean: '*', build: '*', exec: '*' });
  expect(steps(results)).toEqual([
    ['clean-finished', 0],
    ['build-finished', 0],
    ['finished', 127],
  ]);
  expect(textOf(results.at(-1) ?? assertNone(), 'stderr')).toContain('cannot find the main script main.py');
});

test('the task log collects the output when there is a .logs directory', async () => {
  await mkdir(join(runner.directory.work, '.logs'));
  await batch({ exec: 'echo logged' });
  const path = join(runner.directory.work, `.logs/task/01/23/${KERNEL.slice(4)}.log`);
  expect(await readFile(path, 'utf8')).toBe('logged\n');
});

test('commands see the environment of the kernel', async () => {
  await writeFile(join(runner.directory.config, 'environ.txt'), 'GREETING=a=b\nbroken\nLATER=x\n');
  const results = await batch({ exec: 'echo "$HOME $GREETING [$LATER] $_BACKEND_BATCH_MODE"; pwd' });
  const { work } = runner.directory;
  expect(textOf(results.at(-1) ?? assertNone(), 'stdout')).toBe(`${work} a=b [] 1\n${work}\n`);
});

function assertNone(): never {
  throw new Error('there is no result');
}
