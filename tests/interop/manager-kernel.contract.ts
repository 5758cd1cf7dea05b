import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.js';
import { IMAGE, PATIENT, SLOW_MS, type ManagerBench, type SessionKernel } from './manager-bench.js';

/** What a manager does with a running kernel. */
export function kernelContract(bench: ManagerBench): void {
  const { release, call, invoke, failsAs, invokeFailsAs, createKernel, destroy, kernelIds } = bench;

  describe('a kernel', () => {
    let kernel: SessionKernel;
    beforeAll(async () => {
      kernel = await createKernel('i-one');
    }, SLOW_MS);
    afterAll(async () => {
      await destroy('i-one', kernel);
    }, SLOW_MS);

    interface Execution {
      readonly runId: string;
      readonly status: string;
      readonly exitCode: number | null;
      readonly options: unknown;
      readonly console: readonly (readonly [string, string])[];
    }

    /** As a manager's user does: executes and goes on until the run ends or wants an answer. */
    async function run(mode: string, code: string, opts: object = {}, runId: string = randomUUID()) {
      let output = '';
      let errors = '';
      let [nextMode, nextCode] = [mode, code];
      for (;;) {
        const args = [
          { $session: kernel.session },
          { $kernel: kernel.id },
          3,
          runId,
          nextMode,
          nextCode,
          opts,
          2.0,
        ];
        const result = (await call('i-one', 'execute', args)) as Execution;
        expect(result.runId).toBe(runId);
        for (const [type, text] of result.console) {
          if (type === 'stdout') output += text;
          if (type === 'stderr') errors += text;
        }
        if (result.status === 'finished' || result.status === 'waiting-input')
          return { ...result, output, errors };
        [nextMode, nextCode] = ['continue', ''];
      }
    }

    test('runs a query; the result has the fields that a manager passes on', async () => {
      const { output, errors, ...result } = await run('query', 'x = 6 * 7\nprint(x)');
      expect(output).toBe('42\n');
      expect(errors).toBe('');
      expect(Object.keys(result).sort()).toEqual([
        'console',
        'exitCode',
        'files',
        'options',
        'runId',
        'status',
      ]);
      expect(result).toMatchObject({ status: 'finished', exitCode: 0, options: null, files: [] });
    });

    test('answers in split streams to a caller of the first version', async () => {
      const args = [
        { $session: kernel.session },
        { $kernel: kernel.id },
        1,
        'v1-run',
        'query',
        'print(x)',
        {},
        null,
      ];
      await expect(call('i-one', 'execute', args)).resolves.toMatchObject({
        runId: 'v1-run',
        status: 'finished',
        stdout: '42\n',
        stderr: '',
        media: [],
        html: [],
      });
    });

    test('asks for input and goes on with it', async () => {
      const runId = randomUUID();
      const asked = await run('query', 'print("you are", input("name? "))', {}, runId);
      expect(asked).toMatchObject({ status: 'waiting-input', options: { is_password: false } });
      expect(await run('input', 'Ada', {}, runId)).toMatchObject({
        status: 'finished',
        output: expect.stringContaining('you are Ada') as unknown,
      });
    });

    test('shows an exception of the code, and keeps its state', async () => {
      expect((await run('query', 'raise ValueError("no such thing")')).errors).toContain(
        'ValueError: no such thing',
      );
      expect((await run('query', 'print(x + 1)')).output).toBe('43\n');
    });

    test('builds and runs files in a batch', async () => {
      await call('i-one', 'upload_file', [
        { $kernel: kernel.id },
        'main.py',
        { $bytes: hex('print("batch")') },
      ]);
      const result = await run('batch', '', { clean: null, build: 'echo built', exec: 'python3 main.py' });
      expect(result).toMatchObject({ status: 'finished', exitCode: 0, output: 'built\nbatch\n' });
    });

    test('is interrupted', async () => {
      const running = run('query', 'open("begun", "w").close()\nimport time\nwhile True: time.sleep(0.05)');
      await eventually(async () => {
        await call('i-one', 'download_single', [{ $kernel: kernel.id }, 'begun']);
      }, PATIENT);
      expect(await call('i-one', 'interrupt_kernel', [{ $kernel: kernel.id }])).toEqual(release.interrupted);
      expect((await running).errors).toContain('KeyboardInterrupt');
    });

    test('completes code', async () => {
      await expect(
        call(
          'i-one',
          'get_completions',
          [{ $kernel: kernel.id }, 'impor', { row: 0, col: 5, line: 'impor', post: '' }],
          {
            read: 'completion',
          },
        ),
      ).resolves.toEqual({
        result: { status: 'finished', error: null, suggestions: expect.any(Array) as unknown },
      });
    });

    test('takes, lists and gives files', async () => {
      const id = { $kernel: kernel.id };
      const text = 'some text\n';
      await expect(
        call('i-one', 'upload_file', [id, 'folder/a.txt', { $bytes: hex(text) }]),
      ).resolves.toBeNull();
      const listing = (await call('i-one', 'list_files', [id, 'folder'])) as {
        readonly files: string;
        readonly errors: string;
        readonly abspath: string;
      };
      expect(listing).toMatchObject({ errors: '', abspath: 'folder' });
      expect(JSON.parse(listing.files)).toMatchObject([
        { filename: 'a.txt', size: text.length, mode: expect.stringMatching(/^-rw/) as unknown },
      ]);
      await expect(call('i-one', 'download_single', [id, 'folder/a.txt'])).resolves.toEqual({
        $bytes: hex(text),
      });
      const archive = (await call('i-one', 'download_file', [id, 'folder'])) as { readonly $bytes: string };
      const bytes = Buffer.from(archive.$bytes, 'hex');
      expect(bytes.subarray(257, 262).toString()).toBe('ustar');
      expect(bytes.includes('a.txt')).toBe(true);
      await expect(call('i-one', 'upload_file', [id, '../out.txt', { $bytes: '00' }])).rejects.toMatchObject(
        failsAs('PermissionError'),
      );
      await expect(call('i-one', 'download_single', [id, 'not/there'])).rejects.toMatchObject(
        failsAs('RuntimeError'),
      );
      await expect(call('i-one', 'list_files', [id, 'not/there'])).resolves.toMatchObject({
        files: '',
        errors: expect.stringMatching(/./) as unknown,
      });
    });

    test('has logs and a status', async () => {
      await expect(call('i-one', 'get_logs', [{ $kernel: kernel.id }])).resolves.toEqual({
        logs: expect.any(String) as unknown,
      });
      await expect(
        invoke('i-one', 'ping_kernel', [kernel.id], { kwargs: { agent_id: 'i-one' } }),
      ).resolves.toEqual({ started_at: expect.any(Number) as unknown });
    });

    test('answers about services, known and unknown', async () => {
      await expect(call('i-one', 'start_service', [{ $kernel: kernel.id }, 'nonsense', {}])).resolves.toEqual(
        {
          status: 'failed',
          error: 'invalid service name',
        },
      );
      const started = (await call('i-one', 'start_service', [{ $kernel: kernel.id }, 'ttyd', {}])) as object;
      expect(started).toHaveProperty('status', expect.stringMatching(/^(started|running|failed)$/));
      await expect(call('i-one', 'shutdown_service', [{ $kernel: kernel.id }, 'ttyd'])).resolves.toBeNull();
    });

    test('is listed and described by functions of ours', async () => {
      expect(await kernelIds('i-one')).toEqual([kernel.id]);
      await expect(
        invoke('i-two', 'describe_kernel', [kernel.id], { kwargs: { agent_id: 'i-two' } }),
      ).rejects.toMatchObject(invokeFailsAs('KeyError'));
    });

    test('is started again, with its files and without its state', async () => {
      const restarted = await call('i-one', 'restart_kernel', [
        { $session: kernel.session },
        { $kernel: kernel.id },
        { $image: IMAGE },
        {},
      ]);
      expect(restarted).toEqual({
        container_id: expect.any(String) as unknown,
        repl_in_port: expect.any(Number) as unknown,
        repl_out_port: expect.any(Number) as unknown,
        stdin_port: 0,
        stdout_port: 0,
        service_ports: expect.any(Array) as unknown,
      });
      expect((await run('query', 'print(open("folder/a.txt").read(), "x" in globals())')).output).toBe(
        'some text\n False\n',
      );
    });

    test('runs a batch job on its own', async () => {
      const id = { $kernel: kernel.id };
      await expect(
        call('i-one', 'trigger_batch_execution', [
          { $session: kernel.session },
          id,
          'echo done > job.txt',
          60.0,
        ]),
      ).resolves.toBeNull();
      await eventually(async () => {
        expect(await call('i-one', 'download_single', [id, 'job.txt'])).toEqual({ $bytes: hex('done\n') });
      }, PATIENT);
    });
  });
}

const hex = (text: string): string => Buffer.from(text).toString('hex');
