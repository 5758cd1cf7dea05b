import { bundleRunner, execute, PATIENCE_MS, query, RunnerProcess, textOf } from './runner-process.js';
import type { RunnerLink } from '../../../src/runner/link.js';

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
  await link.waitReady({ timeoutMs: PATIENCE_MS });
});
afterEach(() => runner.stop());

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

test('an interrupt ends an endless loop and does not reach the next run', async () => {
  const first = await execute(link, { runId: 'r', code: 'print("go")\nwhile True: pass', flushTimeoutMs: 0 });
  expect(first.status).toBe('continued');
  await link.interrupt();
  const last = await execute(link, { runId: 'r', mode: 'continue' });
  expect(last).toMatchObject({ status: 'finished', exitCode: 1 });
  expect(textOf(last, 'stderr')).toContain('KeyboardInterrupt');
  expect((await query(link, 'print("next")')).console).toEqual([['stdout', 'next\n']]);
});
