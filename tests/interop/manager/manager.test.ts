import { TestDaemon, type TestDaemonOptions } from '../../support/daemon.js';
import { quietPort } from '../../support/docker-backend.js';
import { describeWithEngine, type DockerEngine } from '../../support/docker-engine.js';
import { pythonRoot } from '../../support/docker-images.js';
import { eventually } from '../../support/eventually.js';
import { type ManagerRelease, ManagerStack, STACK_START_MS } from '../../support/manager-stack.js';
import { PythonScript } from '../../support/python.js';
import { requirement } from '../../support/requirements.js';

const CHECK_MS = 300_000;

const wanted = requirement(
  'SPLENIUM_MANAGER_STACK=1, set by `scripts/test --only manager`: a real manager takes minutes',
  process.env['SPLENIUM_MANAGER_STACK'] === '1',
  { installable: false },
);

const RELEASES: readonly ManagerRelease[] = [
  { version: '25.17.1', dialect: '25.17' },
  { version: '26.9.6', dialect: '26.9' },
];

const stack = new ManagerStack();
const seen = { engine: false };

if (wanted) {
  await describeWithEngine(
    'beside an engine that leads a swarm',
    (engine) => {
      seen.engine = true;
      describe('in which managers make overlay networks', () => {
        beforeAll(async () => {
          await engine.docker.swarmInit({
            ListenAddr: `127.0.0.1:${String(await quietPort())}`,
            AdvertiseAddr: '127.0.0.1',
            DataPathPort: await quietPort(),
          });
          // A local image is known by its name without the registry.
          await engine.importImage(await pythonRoot(), 'test/python:3.11-debian');
        }, CHECK_MS);
        // Inside, as the engine ends after all of its tests, and its bridge would stay on this machine.
        afterAll(async () => {
          await stack.down();
          await engine.docker.swarmLeave({ force: true });
          await engine.docker
            .getNetwork('docker_gwbridge')
            .remove()
            .catch(() => undefined);
        }, CHECK_MS);
        for (const release of RELEASES) withManager(release, engine);
      });
    },
    { SPLENIUM_DOCKER_LIVE_RESTORE: 'false' },
  );
  if (!seen.engine)
    describe('without an engine', () => {
      afterAll(() => stack.down(), CHECK_MS);
      for (const release of RELEASES) withManager(release, null);
    });
} else
  describe.skip('unmodified managers 25.17.1 and 26.9.6', () => {
    test('need minutes', () => undefined);
  });

function withManager(release: ManagerRelease, engine: DockerEngine | null): void {
  describe(`an unmodified manager ${release.version}`, () => {
    describe('with the process backend', () => {
      managedSessions({ release, agentIds: ['i-one', 'i-two'], farAgentId: 'i-five', leader: engine });
    });
    if (engine)
      describe('with the docker backend', () => {
        const agentIds = ['i-three', 'i-four'];
        managedSessions({ release, agentIds, farAgentId: 'i-six', leader: engine, engine });
      });
  });
}

interface Managed {
  readonly release: ManagerRelease;
  /** Of the node that is there all the time. */
  readonly agentIds: readonly string[];
  /** Of a second node, which is there for the sessions of two nodes. */
  readonly farAgentId: string;
  /** The engine that makes the manager's overlay networks; null: it makes none. */
  readonly leader: DockerEngine | null;
  /** Of the kernels. Absent: they are processes. */
  readonly engine?: DockerEngine;
}

function managedSessions({ release, agentIds, farAgentId, leader, engine }: Managed): void {
  let daemon: TestDaemon | undefined;
  let driver: PythonScript | undefined;
  let words: Readonly<Record<string, string>> = {};

  /** The options of a node that this manager knows. */
  const node = (ids: readonly string[]): TestDaemonOptions => ({
    agentIds: ids,
    ...(engine ? { engine } : {}),
    spleniumKeys: [
      `accepted-manager-keys = "${words['MANAGER_KEYS_DIR'] ?? ''}"`,
      `manager-version = "${release.dialect}"`,
    ],
    toml: `[etcd]\nnamespace = "local"\naddr = "${words['ETCD_ADDR'] ?? ''}"\n`,
    // More cores than a small machine has: a kernel of these checks uses next to nothing.
    env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '8' },
  });

  beforeAll(async () => {
    words = await stack.of(release, leader ?? undefined);
    daemon = await TestDaemon.start(node(agentIds));
    driver = new PythonScript(words['STACK_PYTHON'] ?? '', 'manager_stack.py', {
      ...words,
      AGENT_IDS: daemon.agentIds.join(','),
      FAR_AGENT_ID: farAgentId,
    });
  }, STACK_START_MS + CHECK_MS);

  afterAll(async () => {
    const failures: unknown[] = [];
    const note = (error: unknown) => void failures.push(error);
    await driver?.end().catch(note);
    // In order, or the manager would send sessions of the next tests to these agents for a while.
    await daemon?.stop().catch(note);
    await daemon?.dispose().catch(note);
    expect(failures).toEqual([]);
  }, CHECK_MS);

  /** What is left of kernels on this machine. */
  const remains = async (): Promise<readonly unknown[]> => [
    ...((await daemon?.kernelProcesses()) ?? []),
    ...((await engine?.docker.listContainers({ all: true })) ?? []).map(({ Names, State }) => [Names, State]),
  ];

  const passes = async (check: string, nodes = [daemon]): Promise<void> => {
    driver?.write({ check });
    const answer = (await driver?.next()) as { failure: string | null };
    const logs = nodes.map((one) => one?.log.slice(-4000) ?? '');
    if (answer.failure !== null) throw new Error([answer.failure, ...logs].join('\n'));
  };

  test.each([
    ['lists both agents as ALIVE, with slots, address and key', 'agents_alive'],
    ['runs an interactive session: code, console, files, end', 'interactive'],
    ['asks a session for its output, for completions and to stop, and a node for measurements', 'questions'],
    // Since 26 a manager refuses to.
    ...(release.dialect === '25.17'
      ? [['starts a session again, with its files and without its memory', 'restart']]
      : []),
    ['leads a user to an app of a session and to what the user’s code serves', 'services'],
    ['records the success of a batch session', 'batch'],
    ['records the failure of a batch session', 'batch_failure'],
    ['runs a session of two kernels', 'cluster'],
    ['runs a session on each agent at once', 'two_at_once'],
    ['moves an agent to another resource group', 'scaling_group'],
    ['is told when a session cannot start', 'failing_start'],
  ])(
    '%s',
    async (_, check) => {
      await passes(check);
    },
    CHECK_MS,
  );

  test('a session that could not start left no kernel', async () => {
    expect(await remains()).toEqual([]);
  });

  describe('and a second node', () => {
    let far: TestDaemon | undefined;
    beforeAll(async () => {
      far = await TestDaemon.start(node([farAgentId]));
    }, CHECK_MS);
    afterAll(async () => {
      await far?.stop();
      await far?.dispose();
    }, CHECK_MS);

    const sessions = [
      // Processes have the network of the machine whatever the manager makes for them.
      ...(leader ? [['an overlay network', engine ? 'overlay_cluster' : 'two_nodes_cluster'] as const] : []),
      // 25.17.1 forgets what the resource group says before it starts the kernels, and wants an overlay network, too.
      ...(release.dialect === '25.17'
        ? []
        : [['the network of the machines', 'host_network_cluster'] as const]),
    ];
    if (sessions.length > 0)
      test.each(sessions)(
        'runs a session of a kernel on each, with %s',
        async (_, check) => {
          await passes(check, [daemon, far]);
          expect([await remains(), await far?.kernelProcesses()]).toEqual([[], []]);
          // The manager removes its network a while after the last kernel has left.
          await eventually(async () => {
            const networks = (await leader?.docker.listNetworks()) ?? [];
            expect(networks.filter(({ Name }) => Name.startsWith('bai-'))).toEqual([]);
          });
        },
        CHECK_MS,
      );
  });

  test(
    'sees the agents go with an orderly stop and return with their kernels',
    async () => {
      await passes('keep_session');
      expect(await daemon?.stop()).toBe(0);
      await passes('agents_terminated');
      await daemon?.resume();
      await passes('use_kept_session');
      expect(await remains()).toEqual([]);
    },
    2 * CHECK_MS,
  );
}
