import { bundleRunner, execute, PATIENCE_MS, query, RunnerProcess, textOf } from './runner-process.js';
import type { RunnerLink } from '../../../src/runner/link.js';

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;

beforeAll(async () => {
  bundle = await bundleRunner();
  runner = await RunnerProcess.start({ bundle: bundle.path, runtime: 'python' });
  link = runner.link();
  await link.waitReady({ timeoutMs: PATIENCE_MS });
});
afterAll(async () => {
  await runner.stop();
  await bundle.remove();
});

test('state survives between queries', async () => {
  expect(await query(link, 'x = 41')).toMatchObject({ status: 'finished', exitCode: 0, console: [] });
  expect((await query(link, 'print(x + 1)')).console).toEqual([['stdout', '42\n']]);
});

test('the order of stdout and stderr is kept', async () => {
  const code = 'import sys\nfor i in range(3):\n  print("out", i)\n  print("err", i, file=sys.stderr)';
  expect((await query(link, code)).console).toEqual(
    [0, 1, 2].flatMap((i) => [
      ['stdout', `out ${String(i)}\n`],
      ['stderr', `err ${String(i)}\n`],
    ]),
  );
});

test('the value of a last expression is shown, None is not', async () => {
  expect((await query(link, 'y = 3\ny * 2')).console).toEqual([['stdout', '6']]);
  expect((await query(link, '_ + 1')).console).toEqual([['stdout', '7']]);
  expect((await query(link, 'None')).console).toEqual([]);
});

test('output of child processes stays in its place', async () => {
  const code = 'import os\nprint("a")\n_ = os.system("echo b; echo c >/dev/stderr")\nprint("d")';
  const result = await query(link, code);
  expect(textOf(result, 'stdout')).toBe('a\nb\nd\n');
  expect(textOf(result, 'stderr')).toBe('c\n');
});

test('an exception gives a traceback with the source line, and exit code 1', async () => {
  const result = await query(link, 'def broken():\n    return {}["missing"]\nbroken()');
  expect(result).toMatchObject({ status: 'finished', exitCode: 1 });
  const text = textOf(result, 'stderr');
  expect(text).toMatch(/^Traceback \(most recent call last\):\n {2}File "<query-\d+>", line 3/);
  expect(text).toContain('return {}["missing"]');
  expect(text).toContain("KeyError: 'missing'\n");
  expect(text).not.toContain('driver');
});

test('a syntax error is an exception', async () => {
  const result = await query(link, 'for');
  expect(result.exitCode).toBe(1);
  expect(textOf(result, 'stderr')).toContain('SyntaxError');
});

test.each([
  ['sys.exit()', 0, ''],
  ['sys.exit(3)', 3, ''],
  ['sys.exit("no")', 1, 'no\n'],
])('%s ends the run, not the interpreter', async (code, exitCode, stderr) => {
  await query(link, 'kept = 1');
  const result = await query(link, `import sys\n${code}`);
  expect(result.exitCode).toBe(exitCode);
  expect(textOf(result, 'stderr')).toBe(stderr);
  expect((await query(link, 'kept')).console).toEqual([['stdout', '1']]);
});

test('input() asks the user', async () => {
  const first = await execute(link, { code: 'name = input("name? ")\nprint("hello", name)' });
  expect(first).toMatchObject({ status: 'waiting-input', options: { is_password: false } });
  expect(first.console).toEqual([['stdout', 'name? ']]);
  const last = await execute(link, { runId: first.runId, mode: 'input', code: '세상' });
  expect(last).toMatchObject({ status: 'finished', exitCode: 0, console: [['stdout', 'hello 세상\n']] });
});

test('getpass() asks for a password', async () => {
  const first = await execute(link, { code: 'import getpass\nlen(getpass.getpass())' });
  expect(first).toMatchObject({ status: 'waiting-input', options: { is_password: true } });
  const last = await execute(link, { runId: first.runId, mode: 'input', code: 'secret' });
  expect(last).toMatchObject({ status: 'finished', console: [['stdout', '6']] });
});

test('input nobody waits for does not answer the next prompt', async () => {
  await execute(link, { runId: 'early', mode: 'input', code: 'stale', flushTimeoutMs: 0 });
  const first = await execute(link, { code: 'print(input())' });
  expect(first.status).toBe('waiting-input');
  const last = await execute(link, { runId: first.runId, mode: 'input', code: 'fresh' });
  expect(last.console).toEqual([['stdout', 'fresh\n']]);
});

test('an interrupt ends an endless loop and does not reach the next run', async () => {
  const first = await execute(link, { runId: 'r', code: 'while True: pass', flushTimeoutMs: 0 });
  expect(first.status).toBe('continued');
  await link.interrupt();
  const last = await execute(link, { runId: 'r', mode: 'continue' });
  expect(last).toMatchObject({ status: 'finished', exitCode: 1 });
  expect(textOf(last, 'stderr')).toContain('KeyboardInterrupt');
  for (let i = 0; i < 5; i += 1) {
    await link.interrupt();
    expect((await query(link, 'print("next")')).console).toEqual([['stdout', 'next\n']]);
  }
});

test('an interrupt ends a prompt and a child process', async () => {
  const asking = await execute(link, { code: 'input()' });
  await link.interrupt();
  const afterPrompt = await execute(link, { runId: asking.runId, mode: 'continue' });
  expect(afterPrompt).toMatchObject({ status: 'finished', exitCode: 1 });
  const code = 'import subprocess\nsubprocess.run(["sleep", "1000"])';
  const waiting = await execute(link, { code, flushTimeoutMs: 0 });
  await link.interrupt();
  const afterChild = await execute(link, { runId: waiting.runId, mode: 'continue' });
  expect(textOf(afterChild, 'stderr')).toContain('KeyboardInterrupt');
});

test('await works at the top level', async () => {
  const code = 'import asyncio\nawait asyncio.sleep(0)\nz = await asyncio.sleep(0, "slept")\nz';
  expect((await query(link, code)).console).toEqual([['stdout', "'slept'"]]);
});

test('completions come from the live namespace', async () => {
  await query(link, 'class Thing:\n  colour = 1\nmy_thing = Thing()');
  expect(await link.complete('print(my_th')).toEqual({
    status: 'finished',
    error: null,
    suggestions: ['my_thing'],
  });
  expect((await link.complete('my_thing.col')).suggestions).toEqual(['my_thing.colour']);
  expect((await link.complete('')).suggestions).toEqual([]);
});

test('an interpreter that dies is reported and replaced', async () => {
  const died = await query(link, 'lost = 1\nimport os\nprint("bye", flush=True)\nos._exit(7)');
  expect(died).toMatchObject({ status: 'finished', exitCode: 7 });
  expect(textOf(died, 'stdout')).toBe('bye\n');
  expect(textOf(died, 'stderr')).toContain('python ended (exit code 7); its variables are lost');
  expect((await query(link, '"lost" in globals()')).console).toEqual([['stdout', 'False']]);
  const killed = await query(link, 'import os, signal\nos.kill(os.getpid(), signal.SIGKILL)');
  expect(killed).toMatchObject({ status: 'finished', exitCode: -9 });
  expect((await query(link, '1')).console).toEqual([['stdout', '1']]);
});

test('code that closes or redirects its descriptors does not lose the end of the run', async () => {
  const result = await query(link, 'import os\nn = os.open("/dev/null", os.O_WRONLY)\nos.dup2(n, 1)');
  expect(result).toMatchObject({ status: 'finished', exitCode: 0 });
  expect((await query(link, 'import os\nos._exit(0)')).status).toBe('finished');
});

test('multiprocessing children do not answer for their parent', async () => {
  const code =
    'import os\npid = os.fork()\nif pid == 0:\n  print("child", flush=True)\nelse:\n  os.waitpid(pid, 0)\n  print("parent")';
  expect((await query(link, code)).console).toEqual([['stdout', 'child\nparent\n']]);
  expect((await query(link, '2')).console).toEqual([['stdout', '2']]);
});

test('much output arrives complete and in order', async () => {
  const first = await execute(link, { code: 'for i in range(200000): print(i)' });
  let text = textOf(first, 'stdout');
  for (let last = first; last.status !== 'finished';) {
    last = await execute(link, { runId: first.runId, mode: 'continue' });
    text += textOf(last, 'stdout');
  }
  const lines = text.split('\n');
  expect(lines).toHaveLength(200_001);
  expect(lines.every((line, i) => line === String(i) || i === 200_000)).toBe(true);
});

test('bytes that are no UTF-8 and split characters', async () => {
  const code =
    'import os\nos.write(1, "가".encode()[:1]); os.write(1, "가".encode()[1:]); os.write(1, b"\\xff!\\xea")';
  expect(textOf(await query(link, `${code}\nNone`), 'stdout')).toBe('가\uFFFD!');
});
