import { Pull, Push } from 'zeromq';
import { silentLogger } from '../../../src/core/logger.js';
import { parseFrames, RESPONSE, statusPayload } from '../../../src/kernel-runner/messages.js';
import { RunnerLink } from '../../../src/runner/index.js';
import { bundleRunner, execute, PATIENCE_MS, query, RunnerProcess, textOf } from './runner-process.js';

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;

beforeAll(async () => {
  bundle = await bundleRunner();
});
afterAll(() => bundle.remove());
beforeEach(async () => {
  runner = await RunnerProcess.start({ bundle: bundle.path, runtime: 'python' });
  link = runner.link();
});
afterEach(() => runner.stop());

test('requests made before the runner is up are answered', async () => {
  const results = Promise.all([link.status(), link.status(), link.getApps(), query(link, '1 + 1')]);
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const [first, second, apps, result] = await results;
  expect(first).toEqual({ startedAt: expect.any(Number) as number });
  expect(second).toEqual(first);
  expect(apps).toEqual({ status: 'done', error: null, apps: [] });
  expect(result.console).toEqual([['stdout', '2']]);
});

test('waiting for a runner that never comes ends with a clear error', async () => {
  const nobody = RunnerLink.connect({
    kernelId: link.kernelId,
    endpoints: { replIn: 'ipc:///nonexistent/in', replOut: 'ipc:///nonexistent/out' },
    logger: silentLogger,
  });
  await expect(nobody.waitReady({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  await expect(nobody.waitReady({ timeoutMs: 50 })).rejects.toThrow(link.kernelId);
  expect(await nobody.status({ timeoutMs: 10 })).toBeNull();
  expect(await nobody.complete('x', {}, { timeoutMs: 10 })).toMatchObject({
    status: 'failed',
    error: 'timeout',
  });
  await nobody.close();
});

test('a first answer that went to an earlier link is asked for again', async () => {
  const [requests, responses] = [new Pull(), new Push()];
  const endpoints = ['in', 'out'].map((name) => `inproc://lost-answer-${name}`);
  const [replIn = '', replOut = ''] = endpoints;
  await requests.bind(replIn);
  await responses.bind(replOut);
  const late = RunnerLink.connect({
    kernelId: link.kernelId,
    endpoints: { replIn, replOut },
    logger: silentLogger,
  });
  try {
    const [first, second] = [await requests.receive(), await requests.receive()].map((frames) =>
      parseFrames(frames),
    );
    expect([first?.type, second?.type]).toEqual(['status', 'status']);
    await responses.send([RESPONSE.status, statusPayload({ started_at: 1, pending: [], last_exec: 0 })]);
    await late.waitReady({ timeoutMs: PATIENCE_MS });
  } finally {
    await late.close();
    requests.close();
    responses.close();
  }
});

test('closing ends everything that waits; a later call is refused', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const running = execute(link, { code: 'while True: pass', flushTimeoutMs: null });
  const waiting = execute(link, { code: '1', flushTimeoutMs: null });
  const expected = { code: 'RUNNER_CLOSED', pythonName: 'RuntimeError' };
  const failures = Promise.all(
    [running, waiting].map((call) => expect(call).rejects.toMatchObject(expected)),
  );
  await link.close();
  await link.close();
  await failures;
  await expect(query(link, '1')).rejects.toMatchObject(expected);
  await expect(link.interrupt()).rejects.toMatchObject(expected);
  expect(link.closed).toBe(true);
});

test('a runner killed in the middle of a run: the call fails when the link is closed, no child survives', async () => {
  const first = await execute(link, { code: 'import os\nprint(os.getpid(), flush=True)' });
  const pid = Number(textOf(first, 'stdout'));
  const call = execute(link, { code: 'while True: pass', flushTimeoutMs: null });
  await link.status();
  runner.process.kill('SIGKILL');
  await runner.exited;
  const failed = expect(call).rejects.toMatchObject({ code: 'RUNNER_CLOSED' });
  await link.close();
  await failed;
  await processEnds(pid);
});

test('SIGTERM ends the runner with its children', async () => {
  const first = await query(link, 'import os\nprint(os.getpid())');
  const pid = Number(textOf(first, 'stdout'));
  await execute(link, { code: 'while True: pass', flushTimeoutMs: 0 });
  runner.process.kill('SIGTERM');
  expect(await runner.exited).toEqual({ code: 0, signal: null });
  await processEnds(pid);
});

test('cancelling a call leaves the run and the link as they were', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const controller = new AbortController();
  const call = execute(link, {
    runId: 'r',
    code: 'print("before")\nx = input()\nprint(x)',
    flushTimeoutMs: null,
    signal: controller.signal,
  });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
  const again = await execute(link, { runId: 'r', mode: 'continue' });
  expect(again).toMatchObject({ status: 'waiting-input', console: [['stdout', 'before\n']] });
  const last = await execute(link, { runId: 'r', mode: 'input', code: 'after' });
  expect(last).toMatchObject({ status: 'finished', console: [['stdout', 'after\n']] });
});

test('a run cancelled before its turn is never started', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const first = await execute(link, { code: 'input()' });
  const controller = new AbortController();
  const call = execute(link, { code: 'y = 1', flushTimeoutMs: null, signal: controller.signal });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
  await execute(link, { runId: first.runId, mode: 'input', code: '' });
  expect((await query(link, '"y" in globals()')).console).toEqual([['stdout', 'False']]);
});

test('runs take turns: a second one waits, continues and gets its own output', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const a = await execute(link, { runId: 'a', code: 'print(input())' });
  expect(a.status).toBe('waiting-input');
  const b = await execute(link, { runId: 'b', code: 'print("b1")\nprint(input())', flushTimeoutMs: 20 });
  expect(b).toMatchObject({ status: 'continued', console: [] });
  const c = execute(link, { runId: 'c', code: 'print("c")', flushTimeoutMs: null });
  const a2 = await execute(link, { runId: 'a', mode: 'input', code: 'a1' });
  expect(a2).toMatchObject({ status: 'finished', console: [['stdout', 'a1\n']] });
  const b2 = await execute(link, { runId: 'b', mode: 'continue' });
  expect(b2).toMatchObject({ status: 'waiting-input', console: [['stdout', 'b1\n']] });
  const b3 = await execute(link, { runId: 'b', mode: 'input', code: 'b2' });
  expect(b3).toMatchObject({ status: 'finished', console: [['stdout', 'b2\n']] });
  expect(await c).toMatchObject({ status: 'finished', console: [['stdout', 'c\n']] });
});

test('an abandoned run that has ended holds up nobody', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  await execute(link, { runId: 'left', code: 'print("left")', flushTimeoutMs: 0 });
  expect((await query(link, 'print("next")')).console).toEqual([['stdout', 'next\n']]);
  const late = await execute(link, { runId: 'left', mode: 'continue' });
  expect(late).toMatchObject({ status: 'finished', console: [['stdout', 'left\n']] });
});

test('continuing a run that is over ends, and does not go on for ever', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const over = await execute(link, { runId: 'unknown', mode: 'continue' });
  expect(over).toMatchObject({ runId: 'unknown', status: 'finished', exitCode: null });
  expect(textOf(over, 'stderr')).toContain('is over or was never started here');
});

test('output nobody collects is bounded, and the console says what is missing', async () => {
  const tight = runner.link({ limits: { maxBufferedChars: 100_000, maxResultChars: 50_000 } });
  await link.close();
  await tight.waitReady({ timeoutMs: PATIENCE_MS });
  const first = await execute(tight, { code: 'print("x" * 10_000_000)', flushTimeoutMs: 0 });
  // The next run starts only when the first is over, so by now all of its output has come.
  expect((await query(tight, 'print("next")')).console).toEqual([['stdout', 'next\n']]);
  let text = '';
  let complaint = '';
  let last = first;
  while (last.status !== 'finished') {
    last = await execute(tight, { runId: first.runId, mode: 'continue' });
    text += textOf(last, 'stdout');
    complaint += textOf(last, 'stderr');
    expect(textOf(last, 'stdout').length).toBeLessThan(200_000);
  }
  expect(text.length).toBeLessThan(100_000);
  expect(complaint).toMatch(/\d+ characters of output were dropped here/);
});

test('while no agent reads, the program waits and nothing is lost', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  await link.close();
  const push = new Push({ linger: 5000 });
  push.connect(runner.endpoints.replIn);
  await push.send(['code', 'for i in range(300000): print(i)']);
  push.close();
  const log = () => runner.log.length;
  await until(() => log() > 1000);
  const second = runner.link();
  let text = '';
  for (let status = ''; status !== 'finished';) {
    const result = await execute(second, { runId: 'found', mode: 'continue' });
    text += textOf(result, 'stdout');
    status = result.status;
  }
  expect(text).toBe(Array.from({ length: 300_000 }, (_, i) => `${String(i)}\n`).join(''));
  expect((await query(second, '"alive"')).console).toEqual([['stdout', "'alive'"]]);
});

test('garbage does not harm the runner', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const push = new Push({ linger: 1000 });
  push.connect(runner.endpoints.replIn);
  const garbage: (string | Uint8Array)[][] = [
    ['code'],
    ['code', 'print(1)', 'third'],
    ['', ''],
    [new Uint8Array([0xff, 0xfe]), ''],
    ['code', new Uint8Array([0xff, 0xfe])],
    ['no-such-type', 'x'],
    ['start-service', '{'],
    ['start-model-service', '[]'],
    ['shutdown-service', 'x'],
    ['complete', 'null'],
    ['event', '1'],
    ['x'.repeat(100_000), ''],
  ];
  for (const frames of garbage) await push.send(frames);
  push.close();
  // Sent over another connection, so wait until the runner has complained about the last of them.
  for (let i = 0; i < 10; i += 1) expect(await link.status()).not.toBeNull();
  expect(await query(link, 'print("fine")')).toMatchObject({ exitCode: 0, console: [['stdout', 'fine\n']] });
});

test('API version 1 gives split streams, version 0 is refused', async () => {
  await link.waitReady({ timeoutMs: PATIENCE_MS });
  const request = {
    runId: 'v1',
    mode: 'query',
    code: 'import sys\nprint("a")\nprint("b", file=sys.stderr)\nprint("c")',
    opts: {},
    flushTimeoutMs: PATIENCE_MS,
  };
  expect(await link.execute({ ...request, apiVersion: 1 })).toEqual({
    runId: 'v1',
    status: 'finished',
    exitCode: 0,
    options: null,
    files: [],
    stdout: 'a\nc\n',
    stderr: 'b\n',
    media: [],
    html: [],
  });
  await expect(link.execute({ ...request, apiVersion: 0 })).rejects.toMatchObject({
    pythonName: 'ValueError',
  });
});

test('a text that is too large is refused before it is sent', async () => {
  const tight = runner.link({ limits: { maxRequestBytes: 1000 } });
  await expect(query(tight, 'x'.repeat(2000))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  await tight.close();
});

async function processEnds(pid: number): Promise<void> {
  await until(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !condition();) {
    if (performance.now() > deadline) throw new Error('it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
