import { randomUUID } from 'node:crypto';
import { generateKeyPair } from '../../src/callosum/index.js';
import { eventually } from '../support/eventually.js';
import { TestDaemon } from '../support/daemon.js';
import { type KernelWish, ManagerClient } from '../support/manager-client.js';

const SLOW_MS = 180_000;
const PATIENT = { timeoutMs: 60_000 };
const IMAGE = 'localhost/test/python:3.11-debian';
const LABELS = {
  'ai.backend.kernelspec': '1',
  'ai.backend.role': 'COMPUTE',
  'ai.backend.runtime-type': 'python',
  'ai.backend.runtime-path': '/usr/bin/python3',
  'ai.backend.features': 'batch query uid-match user-input',
  'ai.backend.base-distro': 'ubuntu20.04',
  'ai.backend.service-ports': '',
};

export interface ManagerRelease {
  /** For the daemon's `manager-version`. */
  readonly line: '25.17' | '26.9';
  readonly script: 'manager_client_25.py' | 'manager_client_26.py';
  /** The class in which the manager's code meets a failure of the agent. */
  readonly failure: string;
  readonly unknownAgentRepr: string;
  /** What `interrupt_kernel` returns. */
  readonly interrupted: unknown;
}

export interface ManagerBench {
  readonly daemon: TestDaemon;
  readonly manager: ManagerClient;
}

export function wish(changes: Partial<KernelWish> = {}): KernelWish {
  const slots = { cpu: '1', mem: '134217728' };
  return { kernel_id: randomUUID(), image: IMAGE, labels: LABELS, slots, ...changes };
}

interface Kernel {
  readonly session: string;
  readonly id: string;
}

/**
 * What a manager of either line can do with our daemon, through the manager's own client classes over CURVE. The bench
 * that is returned is there while the tests run, for tests of one line alone.
 */
export function managerContract(python: string, release: ManagerRelease): () => ManagerBench {
  let bench: ManagerBench | undefined;
  const parts = (): ManagerBench => {
    if (!bench) throw new Error('the daemon or the manager did not start');
    return bench;
  };
  const call: ManagerClient['call'] = (...args) => parts().manager.call(...args);
  const invoke: ManagerClient['invoke'] = (...args) => parts().manager.invoke(...args);
  const failsAs = (remoteName: string) => ({ type: release.failure, remoteName });
  /** Without the manager's client, a failure is the same class on both lines. */
  const invokeFailsAs = (remoteName: string) => ({ type: 'AgentError', remoteName });

  beforeAll(async () => {
    // More cores than a small machine has: a kernel of these tests uses next to nothing.
    const env = { BACKEND_CPU_OVERCOMMIT_FACTOR: '4' };
    const spleniumKeys = [`manager-version = "${release.line}"`];
    const daemon = await TestDaemon.start({ spleniumKeys, env });
    try {
      bench = { daemon, manager: await ManagerClient.start(python, release.script, daemon) };
    } catch (error) {
      await daemon.dispose();
      throw error;
    }
  }, SLOW_MS);

  afterAll(async () => {
    await bench?.manager.close();
    await bench?.daemon.dispose();
  }, SLOW_MS);

  async function createKernel(agentId: string, changes: Partial<KernelWish> = {}): Promise<Kernel> {
    const session = randomUUID();
    const asked = wish(changes);
    await parts().manager.create(agentId, session, [asked]);
    return { session, id: asked.kernel_id };
  }
  const destroyArguments = ({ id, session }: Kernel) => [
    { $kernel: id },
    { $session: session },
    'user-requested',
  ];
  const destroy = (agentId: string, kernel: Kernel) =>
    call(agentId, 'destroy_kernel', destroyArguments(kernel), { kwargs: { suppress_events: false } });
  const kernelIds = async (agentId: string) => {
    const listed = (await invoke(agentId, 'list_kernels', [], { kwargs: { agent_id: agentId } })) as {
      kernel_id: string;
    }[];
    return listed.map(({ kernel_id }) => kernel_id);
  };
  const booksAreInOrder = async () => {
    const checks = (await invoke('i-one', 'examine')) as { ok: boolean }[];
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  };

  describe('the node', () => {
    test('answers pings, a hundred at once, each with its own text', async () => {
      const texts = Array.from({ length: 100 }, (_, index) => `ping ${String(index)}`);
      await expect(Promise.all(texts.map((text) => invoke('i-one', 'ping', [text])))).resolves.toEqual(texts);
    });

    test('tells its health', async () => {
      await expect(invoke('i-one', 'health', [], { read: 'health' })).resolves.toMatchObject({
        status: { $enum: ['HealthStatus', 'ok'] },
        component: 'agent',
        connectivity: { overall_healthy: true },
      });
    });

    test('tells about hardware, local settings and GPUs', async () => {
      await expect(
        invoke('i-two', 'gather_hwinfo', [], { kwargs: { agent_id: 'i-two' }, read: 'hardware' }),
      ).resolves.toEqual({});
      await expect(call('i-two', 'get_local_config')).resolves.toEqual({
        agent: { 'abuse-report-path': '' },
        watcher: {},
      });
      await expect(call('i-two', 'scan_gpu_alloc_map')).resolves.toEqual({});
    });

    test('hands out ports of the agent, and takes them back', async () => {
      const ports = (await Promise.all([1, 2, 3].map(() => call('i-two', 'assign_port')))) as number[];
      expect(new Set(ports).size).toBe(3);
      for (const port of ports) {
        expect(port).toBeGreaterThan(1024);
        await expect(
          invoke('i-two', 'release_port', [port], { kwargs: { agent_id: 'i-two' } }),
        ).resolves.toBeNull();
      }
      await booksAreInOrder();
    });

    test('makes and removes networks, as often as asked', async () => {
      for (const kind of ['create', 'create', 'destroy', 'destroy'])
        await expect(call('i-one', `${kind}_local_network`, ['bai-singlenode-1'])).resolves.toBeNull();
    });

    test('checks images in tasks whose ids have no hyphens', async () => {
      const other = 'localhost/test/other:1';
      const tasks = await call('i-one', 'pull', [], { kwargs: { images: [IMAGE, other] } });
      const taskId = expect.stringMatching(/^[0-9a-f]{32}$/) as unknown;
      expect(tasks).toEqual({ [IMAGE]: taskId, [other]: taskId });
      await eventually(async () => {
        expect(await call('i-one', 'check_pulling', [IMAGE])).toBe(false);
      }, PATIENT);
    });
  });

  describe('what this backend cannot do is NotImplementedError', () => {
    const registry = { name: 'localhost', url: 'http://127.0.0.1', username: null, password: null };
    test('push_image', async () => {
      await expect(call('i-one', 'push_image', [{ $image: IMAGE }, registry])).rejects.toMatchObject(
        failsAs('NotImplementedError'),
      );
    });
    test('purge_images', async () => {
      await expect(call('i-one', 'purge_images', [[IMAGE], true, false])).rejects.toMatchObject(
        failsAs('NotImplementedError'),
      );
    });
    test('commit', async () => {
      await expect(
        call('i-one', 'commit', [randomUUID(), 'user@example.org'], {
          kwargs: { filename: 'a.tar.gz', extra_labels: { 'ai.backend.customized-image.owner': 'user' } },
        }),
      ).rejects.toMatchObject(failsAs('NotImplementedError'));
    });
    test('get_commit_status', async () => {
      await expect(
        invoke('i-one', 'get_commit_status', [randomUUID(), 'user'], { kwargs: { agent_id: 'i-one' } }),
      ).rejects.toMatchObject(invokeFailsAs('NotImplementedError'));
    });
  });

  describe('refusals', () => {
    test('an agent that is not here', async () => {
      await expect(call('i-nowhere', 'assign_port')).rejects.toMatchObject({
        ...failsAs('AgentIdNotFoundError'),
        remoteRepr: release.unknownAgentRepr,
      });
    });

    test.each(['not-a-uuid', ''])('a kernel id that is none: %p', async (id) => {
      await expect(call('i-one', 'check_running', [id])).rejects.toMatchObject(failsAs('ValueError'));
    });

    test.each([
      ['get_logs', [], 'KeyError'],
      ['get_completions', ['pri', {}], 'KeyError'],
      ['start_service', ['sshd', {}], 'KeyError'],
      ['interrupt_kernel', [], 'KeyError'],
    ])('%s of a kernel that is not here', async (method, args, name) => {
      const id = randomUUID();
      const failing = call('i-one', method, [id, ...args]);
      await expect(failing).rejects.toMatchObject(failsAs(name));
      await expect(failing).rejects.toMatchObject({ remoteRepr: expect.stringContaining(id) as unknown });
    });

    test('executing in a kernel that is not here', async () => {
      const id = randomUUID();
      const args = [randomUUID(), id, 3, 'run-1', 'query', 'print(1)', {}, 2.0];
      await expect(call('i-one', 'execute', args)).rejects.toMatchObject({
        ...failsAs('RuntimeError'),
        remoteRepr: `RuntimeError('The container for kernel ${id} is not found! (might be terminated--try it again)')`,
      });
    });

    test('an argument too few, too many, twice, and of an unknown name', async () => {
      const kwargs = { agent_id: 'i-one' };
      for (const [args, more] of [
        [[], {}],
        [[randomUUID(), 'i-one', 1], {}],
        [[randomUUID()], { kernel_id: randomUUID() }],
        [[randomUUID()], { nonsense: 1 }],
      ] as const)
        await expect(
          invoke('i-one', 'check_running', args, { kwargs: { ...kwargs, ...more } }),
        ).rejects.toMatchObject(invokeFailsAs('TypeError'));
    });

    test.each(['environ', 'cluster_role', 'resource_slots'])(
      'a creation without %s is a KeyError, and leaves nothing behind',
      async (field) => {
        await expect(createKernel('i-one', { without: [field] })).rejects.toMatchObject({
          ...failsAs('KeyError'),
          remoteRepr: expect.stringContaining(field) as unknown,
        });
        expect(await kernelIds('i-one')).toEqual([]);
      },
    );

    test('a creation that asks for no core', async () => {
      await expect(createKernel('i-one', { slots: { mem: '134217728' } })).rejects.toMatchObject(
        failsAs('UnsupportedResource'),
      );
      expect(await kernelIds('i-one')).toEqual([]);
    });

    test('the traceback says what happened', async () => {
      await expect(call('i-one', 'get_logs', [randomUUID()])).rejects.toMatchObject({
        remoteTraceback: expect.stringMatching(
          /^Traceback \(most recent call last\):\n[^]*KeyError/,
        ) as unknown,
      });
    });

    test('a function that nobody has, and the next call is answered', async () => {
      await expect(invoke('i-one', 'no_such_function')).rejects.toMatchObject({
        type: 'RPCInternalError',
        remoteName: 'KeyError',
      });
      await expect(invoke('i-one', 'ping', ['still'])).resolves.toBe('still');
    });

    test(
      'a manager whose key was not accepted',
      async () => {
        const { daemon } = parts();
        const stranger = await ManagerClient.start(python, release.script, daemon, generateKeyPair());
        try {
          await expect(stranger.invoke('i-one', 'ping', ['x'])).rejects.toMatchObject({ type: 'RPCError' });
        } finally {
          await stranger.close();
        }
        await expect(invoke('i-one', 'ping', ['still'])).resolves.toBe('still');
      },
      SLOW_MS,
    );
  });

  describe('creation and destruction', () => {
    test('of one kernel: the result as the manager types it', async () => {
      const asked = wish({
        agent_addr: 'tcp://127.0.0.1:6001',
        preopen_ports: [8080],
      });
      const session = randomUUID();
      const created = await parts().manager.create('i-one', session, [asked]);
      const port = expect.any(Number) as unknown;
      expect(created).toEqual([
        {
          id: asked.kernel_id,
          container_id: expect.any(String) as unknown,
          kernel_host: '127.0.0.1',
          repl_in_port: port,
          repl_out_port: port,
          stdin_port: 0,
          stdout_port: 0,
          service_ports: expect.arrayContaining([
            {
              name: '8080',
              protocol: { $enum: ['ServicePortProtocols', 'preopen'] },
              container_ports: [8080],
              host_ports: [port],
              is_inference: false,
            },
          ]) as unknown,
          resource_spec: {
            slots: { $resourceslot: { cpu: '1', mem: '134217728' } },
            allocations: {
              cpu: { cpu: { [String(0)]: expect.anything() as unknown } },
              mem: { mem: { root: { $decimal: '134217728' } } },
            },
            scratch_disk_size: expect.any(Number) as unknown,
            mounts: expect.any(Array) as unknown,
          },
          attached_devices: {
            cpu: [{ device_id: expect.any(String) as unknown, model_name: '', data: { cores: 1 } }],
            mem: [{ device_id: 'root', model_name: '', data: {} }],
          },
          agent_addr: 'tcp://127.0.0.1:6001',
          scaling_group: 'default',
        },
      ]);
      const kernel = { session, id: asked.kernel_id };
      await expect(call('i-one', 'check_running', [kernel.id])).resolves.toBe(true);
      await expect(call('i-one', 'check_creating', [kernel.id])).resolves.toBe(true);
      await expect(call('i-two', 'check_running', [kernel.id])).resolves.toBe(false);
      await expect(destroy('i-one', kernel)).resolves.toBeNull();
      await expect(call('i-one', 'check_running', [kernel.id])).resolves.toBe(false);
      await expect(call('i-one', 'check_creating', [kernel.id])).resolves.toBe(false);
      await expect(destroy('i-one', kernel)).resolves.toBeNull();
      await booksAreInOrder();
    });

    test('of a session of two kernels, which have the session in common', async () => {
      const session = randomUUID();
      const main = wish();
      const sub = wish({ role: 'sub' });
      const created = await parts().manager.create('i-two', session, [main, sub]);
      expect(created).toMatchObject([{ id: main.kernel_id }, { id: sub.kernel_id }]);
      for (const { kernel_id } of [main, sub]) {
        await expect(call('i-two', 'check_running', [kernel_id])).resolves.toBe(true);
        await expect(
          invoke('i-two', 'describe_kernel', [kernel_id], { kwargs: { agent_id: 'i-two' } }),
        ).resolves.toMatchObject({ agent_id: 'i-two', session_id: session, state: 'running' });
      }
      await Promise.all([main, sub].map(({ kernel_id }) => destroy('i-two', { session, id: kernel_id })));
      expect(await kernelIds('i-two')).toEqual([]);
    });

    test.each([
      ['more memory than there is', { slots: { cpu: '1', mem: String(2 ** 50) } }, 'InsufficientResource'],
      ['a slot that nobody has', { slots: { ...wish().slots, 'tpu.device': '1' } }, 'UnsupportedResource'],
      ['the image of another machine', { architecture: 'aarch64' }, 'AgentError'],
      ['a reserved port', { preopen_ports: [2000] }, 'AgentError'],
    ])('is refused by name for %s, and leaves nothing', async (_title, changes, name) => {
      await expect(createKernel('i-two', changes)).rejects.toMatchObject(failsAs(name));
      await eventually(async () => {
        expect(await kernelIds('i-two')).toEqual([]);
      }, PATIENT);
      await booksAreInOrder();
    });

    test('of two kernels of which one fails: its error, and the other one runs', async () => {
      const session = randomUUID();
      const good = wish();
      const bad = wish({ role: 'sub', slots: { cpu: '1', mem: String(2 ** 50) } });
      await expect(parts().manager.create('i-two', session, [good, bad])).rejects.toMatchObject(
        failsAs('InsufficientResource'),
      );
      await expect(call('i-two', 'check_running', [good.kernel_id])).resolves.toBe(true);
      await expect(call('i-two', 'check_creating', [bad.kernel_id])).resolves.toBe(false);
      await destroy('i-two', { session, id: good.kernel_id });
      expect(await kernelIds('i-two')).toEqual([]);
    });

    test('repeated by a manager that got no answer, is one kernel', async () => {
      const session = randomUUID();
      const asked = wish();
      const [first, second] = await Promise.all([
        parts().manager.create('i-two', session, [asked]),
        parts().manager.create('i-two', session, [asked]),
      ]);
      expect(second).toEqual(first);
      expect(await kernelIds('i-two')).toEqual([asked.kernel_id]);
      await destroy('i-two', { session, id: asked.kernel_id });
    });
  });

  describe('a kernel', () => {
    let kernel: Kernel;
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

  describe('a manager that compares its list of kernels', () => {
    test('keeps those listed, and ends those not listed', async () => {
      const kept = await createKernel('i-one');
      const dropped = await createKernel('i-one');
      const listed = [[{ $kernel: kept.id }, { $session: kept.session }]];
      const gone = [{ $kernel: randomUUID() }, { $session: randomUUID() }];
      // 25.17's registry hands over texts, 26.9's ids.
      const texts = [
        [kept.id, kept.session],
        [gone[0]?.['$kernel'], gone[1]?.['$session']],
      ];
      const known = release.line === '25.17' ? texts : [...listed, gone];
      await expect(call('i-one', 'sync_kernel_registry', [known])).resolves.toBeNull();
      await eventually(async () => {
        expect(await kernelIds('i-one')).toEqual([kept.id]);
      }, PATIENT);
      await expect(call('i-one', 'check_running', [dropped.id])).resolves.toBe(false);
      await call('i-one', 'sync_kernel_registry', [[]]);
      await eventually(async () => {
        expect(await kernelIds('i-one')).toEqual([]);
      }, PATIENT);
      await booksAreInOrder();
    });
  });

  describe('resetting and retiring an agent', () => {
    test(
      'reset_agent ends all its kernels and no other, and the agent goes on',
      async () => {
        const [own, other] = [await createKernel('i-two'), await createKernel('i-one')];
        await expect(
          invoke('i-two', 'reset_agent', [], { kwargs: { agent_id: 'i-two' } }),
        ).resolves.toBeNull();
        await expect(call('i-two', 'check_creating', [own.id])).resolves.toBe(false);
        await expect(call('i-one', 'check_running', [other.id])).resolves.toBe(true);
        const next = await createKernel('i-two');
        await destroy('i-two', next);
        await destroy('i-one', other);
        await booksAreInOrder();
      },
      SLOW_MS,
    );

    test(
      'shutdown_agent: ends its kernels when asked to, and takes no new one',
      async () => {
        const daemon = await TestDaemon.start({ agentIds: ['i-one', 'i-two'] });
        const manager = await ManagerClient.start(python, release.script, daemon);
        try {
          const asked = wish();
          await manager.create('i-one', randomUUID(), [asked]);
          await expect(
            manager.invoke('i-one', 'shutdown_agent', [true], { kwargs: { agent_id: 'i-one' } }),
          ).resolves.toBeNull();
          await expect(manager.call('i-one', 'check_running', [asked.kernel_id])).resolves.toBe(false);
          await expect(manager.create('i-one', randomUUID(), [wish()])).rejects.toMatchObject({
            type: release.failure,
          });
          await expect(manager.invoke('i-two', 'ping', ['still'])).resolves.toBe('still');
        } finally {
          await manager.close();
          await daemon.dispose();
        }
      },
      SLOW_MS,
    );
  });

  return parts;
}

const hex = (text: string): string => Buffer.from(text).toString('hex');
