import { execute, PATIENCE_MS, query, bundleRunner, RunnerProcess, textOf } from './runner-process.js';
import type { RunnerLink } from '../../../src/runner/link.js';

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;

beforeAll(async () => {
  bundle = await bundleRunner();
});
afterAll(() => bundle.remove());
afterEach(() => runner.stop());

describe.each(['/bin/bash', '/bin/sh'])('%s', (path) => {
  beforeEach(async () => {
    runner = await RunnerProcess.start({
      bundle: bundle.path,
      runtime: 'shell',
      args: ['--runtime-path', path],
    });
    link = runner.link();
    await link.waitReady({ timeoutMs: PATIENCE_MS });
  });

  test('variables, functions and the directory survive between queries', async () => {
    const define = 'name=world\nhello() {\n  echo "hello $1"\n}\nmkdir -p sub && cd sub';
    expect(await query(link, define)).toMatchObject({ status: 'finished', exitCode: 0, console: [] });
    expect((await query(link, 'hello $name; pwd')).console).toEqual([
      ['stdout', `hello world\n${runner.directory.work}/sub\n`],
    ]);
  });

  test('the exit code is that of the last command', async () => {
    expect(await query(link, 'ls /nonexistent')).toMatchObject({ exitCode: 2 });
    expect(await query(link, 'no-such-command')).toMatchObject({ exitCode: 127 });
    expect((await query(link, 'echo $?')).console).toEqual([['stdout', '127\n']]);
  });

  test('/dev/stderr can be written to', async () => {
    expect((await query(link, 'echo oops > /dev/stderr')).console).toEqual([['stderr', 'oops\n']]);
  });

  test('a syntax error is reported, and the next query works', async () => {
    const bad = await query(link, 'if then');
    expect(bad.exitCode).not.toBe(0);
    expect(textOf(bad, 'stderr')).toMatch(/syntax error/i);
    expect((await query(link, 'echo next')).console).toEqual([['stdout', 'next\n']]);
  });

  test('exit gives the exit code, and the next query starts a new shell', async () => {
    expect(await query(link, 'gone=x; exit 3')).toMatchObject({
      status: 'finished',
      exitCode: 3,
      console: [],
    });
    expect((await query(link, 'echo "[$gone]"')).console).toEqual([['stdout', '[]\n']]);
  });

  test('an interrupt ends the command and does not reach the next run', async () => {
    await query(link, 'kept=yes');
    // Python tells when it is there; a dash that gets the signal while it starts a program would swallow it.
    const patient = `python3 -c "import time; print('up', flush=True); time.sleep(1000)"; echo never`;
    let some = await execute(link, { runId: 'r', code: patient, flushTimeoutMs: 20 });
    while (!textOf(some, 'stdout').includes('up'))
      some = await execute(link, { runId: 'r', mode: 'continue', flushTimeoutMs: 20 });
    await link.interrupt();
    const last = await execute(link, { runId: 'r', mode: 'continue' });
    expect(last).toMatchObject({ status: 'finished', exitCode: path === '/bin/bash' ? 130 : -2 });
    expect(textOf(last, 'stdout')).toBe('');
    for (let i = 0; i < 5; i += 1) {
      await link.interrupt();
      const kept = path === '/bin/bash' ? 'yes' : '';
      expect((await query(link, 'echo "[$kept]"')).console).toEqual([['stdout', `[${kept}]\n`]]);
    }
  });
});
