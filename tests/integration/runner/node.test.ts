import { bundleRunner, execute, PATIENCE_MS, query, RunnerProcess, textOf } from './runner-process.js';
import type { RunnerLink } from '../../../src/runner/link.js';

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;

beforeAll(async () => {
  bundle = await bundleRunner();
  runner = await RunnerProcess.start({ bundle: bundle.path, runtime: 'node' });
  link = runner.link();
  await link.waitReady({ timeoutMs: PATIENCE_MS });
});
afterAll(async () => {
  await runner.stop();
  await bundle.remove();
});

test('state survives between queries, values are shown', async () => {
  expect((await query(link, 'const x = 40; let y = 2; function add() { return x + y; }')).console).toEqual(
    [],
  );
  const result = await query(link, 'console.log(add()); console.error("e"); ({ y })');
  expect(textOf(result, 'stdout')).toBe('42\n{ y: 2 }');
  expect(textOf(result, 'stderr')).toBe('e\n');
});

test('an exception gives its stack and exit code 1', async () => {
  const result = await query(link, 'null.field');
  expect(result).toMatchObject({ status: 'finished', exitCode: 1 });
  expect(textOf(result, 'stderr')).toMatch(/^query-\d+\.js:1\n[^]*TypeError: Cannot read properties of null/);
  expect(textOf(await query(link, 'let ='), 'stderr')).toContain('SyntaxError');
});

test('await and require work at the top level', async () => {
  const code = 'await new Promise((r) => setTimeout(() => r(require("node:path").sep), 1))';
  expect((await query(link, code)).console).toEqual([['stdout', "'/'"]]);
});

test('input() asks the user', async () => {
  const first = await execute(link, { code: 'console.log("got", await input("? "))' });
  expect(first).toMatchObject({ status: 'waiting-input', options: { is_password: false } });
  const last = await execute(link, { runId: first.runId, mode: 'input', code: 'it' });
  expect(last).toMatchObject({ status: 'finished', exitCode: 0 });
  expect(textOf(last, 'stdout')).toBe('got it\n');
});

test.each(['while (true);', 'await new Promise(() => setTimeout(() => {}, 1e6))'])(
  'an interrupt ends %s and does not reach the next run',
  async (code) => {
    const first = await execute(link, { code, flushTimeoutMs: 0 });
    await link.interrupt();
    const last = await execute(link, { runId: first.runId, mode: 'continue' });
    expect(last).toMatchObject({ status: 'finished', exitCode: 1, console: [['stderr', 'Interrupted\n']] });
    for (let i = 0; i < 3; i += 1) {
      await link.interrupt();
      expect((await query(link, '"next"')).console).toEqual([['stdout', "'next'"]]);
    }
  },
);

test('completions come from the live objects', async () => {
  await query(link, 'globalThis.myThing = { colour: 1 }');
  expect((await link.complete('foo(myThing.col')).suggestions).toEqual(['myThing.colour']);
  expect((await link.complete('myTh')).suggestions).toEqual(['myThing']);
});

test('process.exit gives the exit code, and the next query starts a new process', async () => {
  const result = await query(link, 'process.exit(5)');
  expect(result).toMatchObject({ status: 'finished', exitCode: 5 });
  expect(textOf(result, 'stderr')).toContain('node ended (exit code 5)');
  expect((await query(link, 'typeof myThing')).console).toEqual([['stdout', "'undefined'"]]);
});
