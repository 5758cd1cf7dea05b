import { randomUUID } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { createCodec } from '../../../src/codec/index.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import type { ReceivedEvent } from '../../support/manager/event-consumer.js';
import { SmallManager } from '../../support/manager/small-manager.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const WAIT = { timeoutMs: 60_000 };
const SHELL = { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' };
const ONE_CORE = { image: 'local/test/shell:1', labels: SHELL, resourceSlots: { cpu: '1', mem: '67108864' } };

(available ? describe : describe.skip)('what a manager sees of a node', () => {
  let manager: SmallManager;
  let daemon: TestDaemon;
  beforeAll(async () => {
    manager = await SmallManager.start();
    daemon = await TestDaemon.start({
      curve: false,
      toml: `${manager.toml}[debug]\nheartbeat-interval = 1\n`,
    });
    manager.connect(daemon);
  }, 180_000);
  afterAll(async () => {
    await daemon.dispose();
    await manager.close();
    expect(manager.defects).toEqual([]);
  }, 120_000);

  const heard = (name: string, source: string): readonly ReceivedEvent[] =>
    manager.heard.filter((event) => event.name === name && event.source === source);
  const infoOf = (event: ReceivedEvent | undefined) =>
    (event?.args[0] ?? {}) as Readonly<Record<string, unknown>>;
  const lastInfo = (source: string) => infoOf(heard('agent_heartbeat', source).at(-1));

  test.each(['i-one', 'i-two'])('the heartbeat of %s fills the row of an agent', async (agentId) => {
    await eventually(() => {
      expect(heard('agent_heartbeat', agentId).length).toBeGreaterThan(1);
    }, WAIT);
    const info = lastInfo(agentId);
    expect(info).toMatchObject({
      ip: '127.0.0.1',
      region: 'local',
      scaling_group: 'default',
      addr: daemon.address,
      // Nobody has to prove who they are here, so there is no key to prove it to.
      public_key: null,
      public_host: expect.stringMatching(/./) as unknown,
      version: '25.17.1',
      architecture: process.arch === 'arm64' ? 'aarch64' : 'x86_64',
      auto_terminate_abusing_kernel: false,
    });
    expect(String(info['available_resource_slots'])).toMatch(/^cpu=\d+,mem=\d+$/);
    expect(createCodec().unpack(inflateSync(info['images'] as Uint8Array))).toEqual([]);
  });

  test('the start of each agent is told once, behind its first heartbeat, with a list of its containers', async () => {
    for (const agentId of daemon.agentIds) {
      await eventually(() => {
        expect(heard('agent_status_heartbeat', agentId)[0]?.args).toEqual([agentId, [], []]);
      }, WAIT);
      expect(heard('agent_started', agentId).map(({ args }) => args)).toEqual([['self-started']]);
      const names = manager.heard.filter(({ source }) => source === agentId).map(({ name }) => name);
      expect(names.indexOf('agent_heartbeat')).toBeLessThan(names.indexOf('agent_started'));
    }
  });

  test('a kernel’s life is on the stream and on the channel in the same words, and says what either scheduler stores', async () => {
    const client = manager.client('i-two');
    const { kernelId, sessionId } = await client.createKernel(ONE_CORE);
    const run = client.run({ kernelId, sessionId, code: 'echo done' });
    for await (const event of run) if (event.type === 'end') expect(event.exitCode).toBe(0);
    await client.destroyKernel({ kernelId, sessionId, reason: 'idle-timeout' });
    const isOfKernel = ({ name, args }: ReceivedEvent) => name.startsWith('kernel_') && args[0] === kernelId;
    const life = await eventually(() => {
      const events = manager.heard.filter(isOfKernel);
      expect(events.map(({ name }) => name)).toEqual([
        ...['kernel_preparing', 'kernel_creating', 'kernel_started', 'kernel_terminated'],
      ]);
      expect(manager.broadcasts.filter(isOfKernel)).toEqual(events);
      return events;
    }, WAIT);
    expect(new Set(life.map(({ source }) => source))).toEqual(new Set(['i-two']));
    expect(life[2]?.args.slice(0, 3)).toEqual([kernelId, sessionId, '']);
    expect(life[2]?.args[3]).toMatchObject({
      id: kernelId,
      container_id: expect.stringMatching(/^.{1,64}$/) as unknown,
      kernel_host: expect.stringMatching(/./) as unknown,
      repl_in_port: expect.any(Number) as unknown,
      repl_out_port: expect.any(Number) as unknown,
      stdin_port: 0,
      stdout_port: 0,
      service_ports: expect.any(Array) as unknown,
      resource_spec: {
        allocations: { cpu: { cpu: expect.anything() as unknown }, mem: { mem: { root: '67108864' } } },
      },
      attached_devices: { cpu: [{ data: { cores: 1 } }], mem: [{ device_id: 'root' }] },
      scaling_group: 'default',
      agent_addr: expect.any(String) as unknown,
    });
    expect(life[3]?.args.slice(0, 3)).toEqual([kernelId, sessionId, 'idle-timeout']);
    const executions = manager.heard.filter(
      ({ name, args }) => name.startsWith('execution_') && args[0] === sessionId,
    );
    expect(executions[0]?.name).toBe('execution_started');
    expect(executions.at(-1)?.name).toBe('execution_finished');
  }, 120_000);

  test('each request to end a kernel that is not here is answered', async () => {
    const [kernelId, sessionId] = [randomUUID(), randomUUID()];
    for (let round = 0; round < 2; round += 1)
      await manager.client('i-one').destroyKernel({ kernelId, sessionId, reason: 'user-requested' });
    await eventually(() => {
      const answers = heard('kernel_terminated', 'i-one').filter(({ args }) => args[0] === kernelId);
      expect(answers.map(({ args }) => args.slice(1, 3))).toEqual(
        Array(2).fill([sessionId, 'already-terminated']),
      );
    }, WAIT);
  });

  test('the last state of a background task lies under its id for who comes late', async () => {
    const [image, reader] = ['local/test/shell:1', manager.database(4)];
    try {
      const session = manager.open({ image, labels: SHELL, agents: ['i-one'] });
      await manager.reaches(session, 'RUNNING');
      const keys = await reader.keys('bgtask.*');
      expect(keys).toHaveLength(1);
      const [key = ''] = keys;
      expect(JSON.parse((await reader.get(key)) ?? '')).toMatchObject({
        name: 'bgtask_done',
        source: 'i-one',
      });
      const leftSec = await reader.ttl(key);
      expect(leftSec > 0 && leftSec <= 300).toBe(true);
      const states = manager.broadcasts.filter(({ args }) => `bgtask.${String(args[0])}` === key);
      expect(states.map(({ name }) => name)).toEqual(['bgtask_updated', 'bgtask_done']);
      expect(heard('image_pull_finished', 'i-one').map(({ args }) => [args[0], args[1]])).toEqual([
        [image, 'i-one'],
      ]);
      manager.terminate(session);
      await manager.reaches(session, 'TERMINATED');
    } finally {
      reader.disconnect();
    }
  }, 120_000);

  test('an agent that is moved is in its new resource group with the next heartbeat, its sibling stays', async () => {
    await manager.client('i-two').call('update_scaling_group', { scaling_group: 'gpu' });
    await eventually(() => {
      expect(lastInfo('i-two')['scaling_group']).toBe('gpu');
    }, WAIT);
    const before = heard('agent_heartbeat', 'i-one').length;
    await eventually(() => {
      expect(heard('agent_heartbeat', 'i-one').length).toBeGreaterThan(before);
    }, WAIT);
    expect(lastInfo('i-one')['scaling_group']).toBe('default');
  }, 120_000);

  test('statistics that Redis refuses are one agent_error of each agent, however long they are refused', async () => {
    const admin = manager.database(0);
    const errors = (source: string) =>
      heard('agent_error', source).filter(({ args }) => String(args[0]).startsWith('statistics of the node'));
    const triggered = () => heard('agent_heartbeat', 'i-one').length;
    try {
      // Only statistics are set; events and heartbeats go to streams and channels.
      await admin.call('ACL', 'SETUSER', 'default', '-set');
      for (const agentId of daemon.agentIds)
        await eventually(() => {
          expect(errors(agentId)).toHaveLength(1);
        }, WAIT);
      const before = triggered();
      await eventually(() => {
        // Several rounds of 5 s: a heartbeat comes each second.
        expect(triggered()).toBeGreaterThan(before + 12);
      }, WAIT);
      for (const agentId of daemon.agentIds) expect(errors(agentId)).toHaveLength(1);
    } finally {
      await admin.call('ACL', 'SETUSER', 'default', '+set');
      admin.disconnect();
    }
  }, 180_000);

  test('an orderly stop ends each agent with one word, and no heartbeat follows it', async () => {
    expect(await daemon.stop()).toBe(0);
    for (const agentId of daemon.agentIds) {
      await eventually(() => {
        expect(heard('agent_terminated', agentId).map(({ args }) => args)).toEqual([['shutdown']]);
      }, WAIT);
      const own = manager.heard.filter(({ source }) => source === agentId);
      expect(own.at(-1)?.name).toBe('agent_terminated');
      expect(manager.agents.rows.get(agentId)?.status).toBe('TERMINATED');
    }
  }, 120_000);
});
