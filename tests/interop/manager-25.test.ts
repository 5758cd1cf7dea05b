import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { eventually } from '../support/eventually.js';
import { describeRequiring, ORIGINAL_PYTHON } from '../support/requirements.js';
import { PATIENT, wish } from './manager-bench.js';
import { managerContract } from './manager.contract.js';

describeRequiring(ORIGINAL_PYTHON, 'the client of a manager 25.17.1', (python) => {
  const bench = managerContract(python, {
    line: '25.17',
    script: 'manager_client_25.py',
    failure: 'AgentError',
    unknownAgentRepr:
      "<AgentIdNotFoundError(-1): General Backend API Error. (Agent 'i-nowhere' not found in this runtime. Available agents: i-one, i-two)>",
    interrupted: null,
  });
  const kwargs = { agent_id: 'i-one' };

  test('gather_hwinfo: every entry as the manager checks its type', async () => {
    await expect(
      bench.parts().manager.call('i-one', 'gather_hwinfo', [], { read: 'hardware' }),
    ).resolves.toEqual({});
  });

  test('health, as the manager’s health checker asks for it', async () => {
    await expect(
      bench.parts().manager.call('i-one', 'health', [], { read: 'health' }),
    ).resolves.toMatchObject({
      status: { $enum: ['HealthStatus', 'ok'] },
    });
  });

  test('the scheduler sums up the allocations of a new kernel', async () => {
    const { manager } = bench.parts();
    const [session, asked] = [randomUUID(), wish()];
    await expect(manager.create('i-one', session, [asked], 'allocations')).resolves.toEqual([
      { $resourceslot: asked.slots },
    ]);
    await manager.call('i-one', 'destroy_kernel', [asked.kernel_id, session, 'user-requested']);
  });

  test('purge_containers removes a kernel in the background', async () => {
    const { manager } = bench.parts();
    const [session, asked] = [randomUUID(), wish()];
    const [created] = (await manager.create('i-one', session, [asked])) as { container_id: string }[];
    const pair = [created?.container_id, { $kernel: asked.kernel_id }];
    await expect(manager.call('i-one', 'purge_containers', [[pair]])).resolves.toBeNull();
    await eventually(async () => {
      await expect(manager.invoke('i-one', 'list_kernels', [], { kwargs })).resolves.toEqual([]);
    }, PATIENT);
  });

  test('drop_kernel_registry forgets a kernel, whose processes are nobody else’s to end', async () => {
    const { manager } = bench.parts();
    const [session, asked] = [randomUUID(), wish()];
    await manager.create('i-one', session, [asked]);
    await expect(
      manager.call('i-one', 'drop_kernel_registry', [[{ $kernel: asked.kernel_id }]]),
    ).resolves.toBeNull();
    await eventually(async () => {
      await expect(manager.invoke('i-one', 'list_kernels', [], { kwargs })).resolves.toEqual([]);
    }, PATIENT);
  });

  test('update_scaling_group is written to the configuration of this agent alone', async () => {
    const { manager, daemon } = bench.parts();
    await expect(manager.call('i-two', 'update_scaling_group', ['gpu'])).resolves.toBeNull();
    const text = await readFile(daemon.configPath, 'utf8');
    expect(text).toMatch(/id = "i-two"[^]*scaling-group = "gpu"/);
    expect(text.match(/gpu/g)).toHaveLength(1);
  });
});
