import { randomUUID } from 'node:crypto';
import { TestDaemon } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';
import { ManagerClient } from '../support/manager-client.js';
import { PATIENT, SLOW_MS, wish, type ManagerBench } from './manager-bench.js';

/** Creating and ending kernels, one by one and all together. */
export function lifecycleContract(bench: ManagerBench): void {
  const { python, release, parts, call, invoke, failsAs, createKernel, destroy, kernelIds, booksAreInOrder } =
    bench;

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
}
