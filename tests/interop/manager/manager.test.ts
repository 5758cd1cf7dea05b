import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine, type DockerEngine } from '../../support/docker-engine.js';
import { pythonRoot } from '../../support/docker-images.js';
import { freePort } from '../../support/free-port.js';
import { PythonScript } from '../../support/python.js';
import { requirement } from '../../support/requirements.js';

const SCRIPT = fileURLToPath(new URL('../../../scripts/manager-stack', import.meta.url));
/** The schema alone takes a minute on a small machine. */
const START_MS = 720_000;
const CHECK_MS = 300_000;
const PORTS = 6;

const wanted = requirement(
  'SPLENIUM_MANAGER_STACK=1, set by `scripts/test --only manager`: a real manager takes minutes',
  process.env['SPLENIUM_MANAGER_STACK'] === '1',
  { installable: false },
);

const run = promisify(execFile);

/** The first of several free ports in a row, below those that the system hands out itself. */
async function freePorts(): Promise<number> {
  const start = 12_000 + ((await freePort()) % 500) * 8;
  for (let base = start; base < start + 4000; base += 8) {
    const taken = await Promise.all(Array.from({ length: PORTS }, (_, at) => isTaken(base + at)));
    if (!taken.includes(true)) return base;
  }
  throw new Error('no free ports');
}

async function isTaken(port: number): Promise<boolean> {
  return run('bash', ['-c', `exec 3<>/dev/tcp/127.0.0.1/${String(port)}`]).then(
    () => true,
    () => false,
  );
}

/** `export A=1 B=2` lines. */
const assignments = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/(?<=\s)(?<name>[A-Z_]+)=(?<value>\S+)/g)].map((found) => [
      found.groups?.['name'] ?? '',
      found.groups?.['value'] ?? '',
    ]),
  );

/** A release of the manager and what `splenium.manager-version` says for it. */
interface Release {
  readonly version: string;
  readonly dialect: string;
}

const OLD: Release = { version: '25.17.1', dialect: '25.17' };
const NEW: Release = { version: '26.9.6', dialect: '26.9' };

/** One manager at a time: each is shared by the tests of both backends, which have agents of their own. */
const stack = {
  version: '',
  directory: '',
  words: {} as Readonly<Record<string, string>>,

  async of({ version }: Release): Promise<Readonly<Record<string, string>>> {
    if (this.version === version) return this.words;
    await this.down();
    this.directory = await mkdtemp(join(tmpdir(), 'splenium-manager-'));
    this.version = version;
    const port = String(await freePorts());
    const options = ['--version', version, '--dir', this.directory, '--port', port];
    const { stdout } = await run(SCRIPT, ['up', ...options], { timeout: START_MS });
    this.words = assignments(stdout);
    return this.words;
  },

  async down(): Promise<void> {
    if (this.directory === '') return;
    await run(SCRIPT, ['down', '--dir', this.directory, '--purge']);
    await rm(this.directory, { recursive: true, force: true });
    this.directory = this.version = '';
  },
};

afterAll(() => stack.down(), START_MS);

if (wanted) {
  describe('an unmodified manager 25.17.1 with the process backend', () => {
    managedSessions({ release: OLD, agentIds: ['i-one', 'i-two'] });
  });
  // Between the others, so that each manager is started once.
  await describeWithEngine('the docker backend', (engine) => {
    describe('with an unmodified manager 25.17.1', () => {
      managedSessions({ release: OLD, agentIds: ['i-three', 'i-four'], engine });
    });
    describe('with an unmodified manager 26.9.6', () => {
      managedSessions({ release: NEW, agentIds: ['i-three', 'i-four'], engine });
    });
  });
  describe('an unmodified manager 26.9.6 with the process backend', () => {
    managedSessions({ release: NEW, agentIds: ['i-one', 'i-two'] });
  });
} else
  describe.skip('unmodified managers 25.17.1 and 26.9.6', () => {
    test('need minutes', () => undefined);
  });

function managedSessions({
  release,
  agentIds,
  engine,
}: {
  readonly release: Release;
  readonly agentIds: readonly string[];
  readonly engine?: DockerEngine;
}): void {
  let daemon: TestDaemon | undefined;
  let driver: PythonScript | undefined;

  beforeAll(async () => {
    const words = await stack.of(release);
    // A local image is known by its name without the registry.
    await engine?.importImage(await pythonRoot(), 'test/python:3.11-debian');
    daemon = await TestDaemon.start({
      agentIds,
      ...(engine ? { engine } : {}),
      spleniumKeys: [
        `accepted-manager-keys = "${words['MANAGER_KEYS_DIR'] ?? ''}"`,
        `manager-version = "${release.dialect}"`,
      ],
      toml: `[etcd]\nnamespace = "local"\naddr = "${words['ETCD_ADDR'] ?? ''}"\n`,
      // More cores than a small machine has: a kernel of these checks uses next to nothing.
      env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '8' },
    });
    driver = new PythonScript(words['STACK_PYTHON'] ?? '', 'manager_stack.py', {
      ...words,
      AGENT_IDS: daemon.agentIds.join(','),
    });
  }, START_MS + CHECK_MS);

  afterAll(async () => {
    const words = [
      await driver?.end().catch((error: unknown) => error),
      await daemon?.dispose().catch((error: unknown) => error),
    ];
    expect(words.filter((word) => word instanceof Error)).toEqual([]);
  }, CHECK_MS);

  /** What is left of kernels on this machine. */
  const remains = async (): Promise<readonly unknown[]> => [
    ...((await daemon?.kernelProcesses()) ?? []),
    ...((await engine?.docker.listContainers({ all: true })) ?? []).map(({ Names, State }) => [Names, State]),
  ];

  const passes = async (check: string): Promise<void> => {
    driver?.write({ check });
    const answer = (await driver?.next()) as { failure: string | null };
    if (answer.failure !== null) throw new Error(`${answer.failure}\n${daemon?.log.slice(-4000) ?? ''}`);
  };

  test.each([
    ['lists both agents as ALIVE, with slots, address and key', 'agents_alive'],
    ['runs an interactive session: code, console, files, end', 'interactive'],
    ['asks a session for its output, for completions and to stop, and a node for measurements', 'questions'],
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
