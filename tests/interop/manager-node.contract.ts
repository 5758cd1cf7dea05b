import { randomUUID } from 'node:crypto';
import { generateKeyPair } from '../../src/callosum/index.js';
import { eventually } from '../support/eventually.js';
import { ManagerClient } from '../support/manager-client.js';
import { IMAGE, PATIENT, SLOW_MS, type ManagerBench } from './manager-bench.js';

/** Functions of the node and of an agent as a whole, and what is refused. */
export function nodeContract(bench: ManagerBench): void {
  const {
    python,
    release,
    parts,
    call,
    invoke,
    failsAs,
    invokeFailsAs,
    createKernel,
    destroy,
    kernelIds,
    booksAreInOrder,
  } = bench;

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

  describe('images, of which this backend has none', () => {
    const registry = { name: 'localhost', url: 'http://127.0.0.1', username: null, password: null };
    test('a push is a task with a hyphenated id', async () => {
      await expect(call('i-one', 'push_image', [{ $image: IMAGE }, registry])).resolves.toEqual({
        bgtask_id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) as unknown,
        canonical: IMAGE,
      });
    });
    test('a purge tells for each image what keeps it', async () => {
      const other = 'localhost/test/other:1';
      const error = expect.stringContaining('the process backend has no images') as unknown;
      await expect(call('i-one', 'purge_images', [[IMAGE, other], true, false])).resolves.toEqual({
        responses: [
          { image: IMAGE, error },
          { image: other, error },
        ],
      });
    });
  });

  describe('commits, which this backend cannot make', () => {
    const taskId = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) as unknown;
    test('a commit is a task with a hyphenated id, also of a kernel that is not here', async () => {
      const id = randomUUID();
      const labels = { 'ai.backend.customized-image.owner': 'user' };
      await expect(
        call('i-one', 'commit', [id, 'user@example.org'], {
          kwargs: { filename: 'a.tar.gz', extra_labels: labels },
        }),
      ).resolves.toEqual({ bgtask_id: taskId, kernel: id, path: 'user@example.org/a.tar.gz' });
      await expect(
        call('i-one', 'commit', [id, 'user@example.org'], {
          kwargs: { canonical: 'localhost:5000/user/python:mine', extra_labels: labels },
        }),
      ).resolves.toEqual({ bgtask_id: taskId, kernel: id, path: null });
    });
    test('a file outside of the commit path is refused', async () => {
      await expect(
        call('i-one', 'commit', [randomUUID(), '../elsewhere'], { kwargs: { filename: 'a.tar.gz' } }),
      ).rejects.toMatchObject(failsAs('PermissionError'));
    });
    test('nothing is being committed, and what is not here is a KeyError', async () => {
      const kwargs = { agent_id: 'i-one' };
      await expect(
        invoke('i-one', 'get_commit_status', [randomUUID(), 'user'], { kwargs }),
      ).rejects.toMatchObject(invokeFailsAs('KeyError'));
      const kernel = await createKernel('i-one');
      await expect(invoke('i-one', 'get_commit_status', [kernel.id, 'user'], { kwargs })).resolves.toEqual({
        kernel: kernel.id,
        status: 'ready',
      });
      await destroy('i-one', kernel);
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
}
