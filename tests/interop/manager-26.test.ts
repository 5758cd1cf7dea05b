import { generateKeyPair } from '../../src/callosum/index.js';
import { ManagerClient } from '../support/manager-client.js';
import { describeRequiring, ORIGINAL_PYTHON_26 } from '../support/requirements.js';
import { managerContract } from './manager.contract.js';

const SLOW_MS = 180_000;

describeRequiring(ORIGINAL_PYTHON_26, 'the pooled client of a manager 26.9', (python) => {
  const bench = managerContract(python, {
    line: '26.9',
    script: 'manager_client_26.py',
    failure: 'RPCUserError',
    unknownAgentRepr:
      "<AgentIdNotFoundError(404): Agent ID not found. (Agent 'i-nowhere' not found in this runtime. Available agents: i-one, i-two)>",
    interrupted: { status: 'finished' },
  });

  test('health_v2: validated by the manager', async () => {
    await expect(bench.parts().manager.call('i-two', 'health')).resolves.toMatchObject({
      status: { $enum: ['HealthStatus', 'ok'] },
      version: expect.any(String) as unknown,
      component: 'agent',
      connectivity: { overall_healthy: true, timestamp: expect.anything() as unknown },
    });
  });

  test(
    'a key that was not accepted, and the pool',
    async () => {
      const { daemon } = bench.parts();
      const stranger = await ManagerClient.start(python, 'manager_client_26.py', daemon, generateKeyPair());
      try {
        await expect(stranger.call('i-one', 'assign_port')).rejects.toMatchObject({
          type: 'AgentConnectionUnavailable',
        });
      } finally {
        await stranger.close();
      }
    },
    SLOW_MS,
  );

  test('gather_hwinfo_v2: the devices as the manager validates them', async () => {
    await expect(bench.parts().manager.call('i-two', 'gather_hwinfo')).resolves.toEqual({ devices: [] });
  });

  test('health_v2 of an agent that is not here, and without its envelope', async () => {
    const { manager } = bench.parts();
    await expect(manager.call('i-nowhere', 'health')).rejects.toMatchObject({
      type: 'RPCUserError',
      remoteName: 'AgentIdNotFoundError',
    });
    await expect(manager.invoke('i-one', 'health_v2')).rejects.toMatchObject({
      remoteName: 'ValueError',
      remoteRepr: expect.stringContaining('req') as unknown,
    });
  });

  test.each(['update_scaling_group', 'purge_containers', 'drop_kernel_registry'])(
    '%s is not of this line, and the next call is answered',
    async (method) => {
      const { manager } = bench.parts();
      await expect(
        manager.invoke('i-one', method, [[]], { kwargs: { agent_id: 'i-one' } }),
      ).rejects.toMatchObject({ remoteName: 'KeyError' });
      await expect(manager.invoke('i-one', 'ping', ['still'])).resolves.toBe('still');
    },
  );
});
