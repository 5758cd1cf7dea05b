import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { parseKernelId } from '../../src/core/ids.js';
import { silentLogger } from '../../src/core/logger.js';
import { RunnerLink } from '../../src/runner/index.js';
import {
  bundleRunner,
  execute,
  PATIENCE_MS,
  RunnerProcess,
  textOf,
  untilFinished,
} from '../integration/runner/runner-process.js';
import { freePort } from '../support/free-port.js';
import { PythonScript } from '../support/python.js';
import { describeRequiring, ORIGINAL_PYTHON, requirement } from '../support/requirements.js';

/** Importing the original takes half a minute on a busy machine. */
const SLOW_START_MS = 180_000;

describeRequiring(ORIGINAL_PYTHON, "our runner under the original agent's code runner", (python) => {
  let bundle: Awaited<ReturnType<typeof bundleRunner>>;
  let runner: RunnerProcess;

  beforeAll(async () => {
    bundle = await bundleRunner();
  });
  afterAll(() => bundle.remove());
  beforeEach(async () => {
    runner = await RunnerProcess.start({ bundle: bundle.path, runtime: 'python' });
  });
  afterEach(() => runner.stop());

  async function drive(steps: readonly unknown[]): Promise<unknown[]> {
    const { replIn, replOut } = runner.endpoints;
    return new PythonScript(python, 'kernel_runner_agent.py', {
      repl_in: replIn,
      repl_out: replOut,
      steps,
    }).end();
  }

  test(
    'queries, input, batches, completions, status, apps and services',
    async () => {
      const [status, apps, first, second, prompt, answered, clean, completion, service] = await drive([
        { status: true },
        { apps: true },
        { execute: { run_id: 'a', mode: 'query', text: 'x = 20\nprint("made", x)' } },
        { execute: { run_id: 'b', mode: 'query', text: 'x + 1' } },
        { execute: { run_id: 'c', mode: 'query', text: 'print("got", input("? "))' } },
        { execute: { run_id: 'c', mode: 'input', text: 'it' } },
        { execute: { run_id: 'd', mode: 'batch', opts: { clean: '', build: '', exec: 'echo run; exit 3' } } },
        { complete: 'prin' },
        { start_service: { name: 'nothing', port: 1, ports: [1], protocol: 'http', options: {} } },
      ]);
      expect(status).toEqual({ started_at: expect.any(Number) as number, pending: [] });
      expect(apps).toEqual({ status: 'done', data: [] });
      expect(first).toMatchObject({
        runId: 'a',
        status: 'finished',
        exitCode: 0,
        console: [['stdout', 'made 20\n']],
      });
      expect(second).toMatchObject({ status: 'finished', console: [['stdout', '21']] });
      expect(prompt).toMatchObject({ status: 'waiting-input', options: { is_password: false } });
      expect(answered).toMatchObject({ status: 'finished', console: [['stdout', 'got it\n']] });
      expect(clean).toMatchObject({ status: 'clean-finished', exitCode: 0 });
      expect(JSON.stringify(completion)).toContain('print');
      expect(service).toEqual({ status: 'failed', error: 'unsupported service: nothing' });
    },
    SLOW_START_MS,
  );

  test(
    'an interrupt',
    async () => {
      const [running, , last] = await drive([
        { execute: { run_id: 'e', mode: 'query', text: 'while True: pass', flush_timeout: 0.1 } },
        { interrupt: true },
        { execute: { run_id: 'e', mode: 'continue' } },
      ]);
      expect(running).toMatchObject({ status: 'continued', exitCode: null });
      expect(last).toMatchObject({ status: 'finished', exitCode: 1 });
    },
    SLOW_START_MS,
  );
});

/** The original runner uses fixed paths, so it gets its own /home and /tmp. */
const NAMESPACE = `
mount -t tmpfs tmpfs /home && mkdir -p /home/work /home/config || exit 90
printf '%s' "$1" > /home/config/intrinsic-ports.json
cd /home/work && shift && exec "$@"
`;
const canUnshare = spawnSync('unshare', ['--mount', 'true']).status === 0;
const namespaces = requirement('the right to make a mount namespace (root)', canUnshare, {
  installable: false,
});

(namespaces ? describeRequiring : skipped)(
  ORIGINAL_PYTHON,
  'the original runner under our link',
  (python) => {
    let runner: ChildProcess;
    let ended: Promise<unknown>;
    let link: RunnerLink;
    let log = '';

    beforeAll(async () => {
      const [replin, replout, sshd, ttyd] = [
        await freePort(),
        await freePort(),
        await freePort(),
        await freePort(),
      ];
      const command = [python, '-s', '-m', 'ai.backend.kernel', 'python', python];
      runner = spawn(
        'unshare',
        [
          ...['--mount', '--propagation', 'private', 'sh', '-c', NAMESPACE, 'sh'],
          ...[JSON.stringify({ replin, replout, sshd, ttyd }), ...command],
        ],
        // PYTEST_VERSION keeps it from starting itself again under another name.
        { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PYTEST_VERSION: '1' } },
      );
      for (const stream of [runner.stdout, runner.stderr])
        stream?.setEncoding('utf8').on('data', (text: string) => {
          log += text;
        });
      ended = new Promise((resolve) => runner.once('exit', resolve));
      link = RunnerLink.connect({
        kernelId: parseKernelId(randomUUID()),
        endpoints: {
          replIn: `tcp://127.0.0.1:${String(replin)}`,
          replOut: `tcp://127.0.0.1:${String(replout)}`,
        },
        logger: silentLogger,
      });
      await link.waitReady({ timeoutMs: 120_000 }).catch((error: unknown) => {
        throw new Error(`the original runner does not answer:\n${log}`, { cause: error });
      });
    }, SLOW_START_MS);
    afterAll(async () => {
      await link.close();
      runner.kill('SIGTERM');
      const timer = setTimeout(() => runner.kill('SIGKILL'), PATIENCE_MS);
      await ended;
      clearTimeout(timer);
    });

    test('status, apps, completions and services', async () => {
      expect(await link.status()).toEqual({ startedAt: expect.any(Number) as number });
      expect(await link.getApps()).toEqual({ status: 'done', error: null, apps: [] });
      expect(await link.complete('prin')).toEqual({ status: 'finished', error: null, suggestions: [] });
      const request = { name: 'nothing', port: 1, ports: [1], protocol: 'http', options: {} };
      expect(await link.startService(request)).toEqual({
        status: 'failed',
        error: 'unsupported service: nothing',
      });
      expect(await link.startService({ ...request, protocol: 'preopen' })).toEqual({ status: 'started' });
    });

    test('a query without a Jupyter kernel ends with 127', async () => {
      expect(await execute(link, { code: 'print(1)' })).toMatchObject({ status: 'finished', exitCode: 127 });
    });

    test('a batch loses nothing, however late the client comes back', async () => {
      const opts = { clean: 'echo c', build: 'echo b; echo bb >&2', exec: 'echo 가나; exit 4' };
      for (const isLate of [false, true]) {
        const first = await execute(link, { mode: 'batch', opts });
        // Another run is over only after the runner has finished the batch.
        if (isLate) await execute(link, { mode: 'query', code: '' });
        const results = await untilFinished(link, first);
        expect(results.map(({ status, exitCode }) => [status, exitCode])).toEqual([
          ['clean-finished', 0],
          ['build-finished', 0],
          ['finished', 4],
        ]);
        expect(results.map((result) => textOf(result, 'stdout'))).toEqual(['c\n', 'b\n', '가나\n']);
        expect(results.map((result) => textOf(result, 'stderr'))).toEqual(['', 'bb\n', '']);
      }
    });

    test('an interrupt ends a command', async () => {
      const exec = `exec python3 -c "import time; print('up', flush=True); time.sleep(1000)"`;
      let last = await execute(link, { mode: 'batch', opts: { exec } });
      const { runId } = last;
      for (let text = ''; !text.includes('up'); text += textOf(last, 'stdout'))
        last = await execute(link, { runId, mode: 'continue', flushTimeoutMs: 50 });
      await link.interrupt();
      const results = await untilFinished(link, await execute(link, { runId, mode: 'continue' }));
      expect(results.at(-1)).toMatchObject({ status: 'finished', exitCode: -2 });
    });
  },
);

function skipped(_required: unknown, title: string): void {
  describe.skip(title, () => {
    test('needs a mount namespace', () => undefined);
  });
}
