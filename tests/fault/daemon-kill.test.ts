import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { AgentClient } from '../../src/client/agent-client.js';
import { within } from '../../src/core/async.js';
import { TestDaemon } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';

const PATIENT = { timeoutMs: 60_000 };
const AGENTS = ['i-one', 'i-two'];
const SPEC = {
  image: 'local/python:3',
  labels: { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' },
  resourceSlots: { cpu: '1', mem: '67108864' },
};

interface Kernel {
  readonly agentId: string;
  readonly kernelId: string;
  readonly sessionId: string;
}

let daemon: TestDaemon;
/** One for each agent, never killed on purpose: each holds its own name in a Python variable all the time. */
let survivors: readonly Kernel[];

beforeAll(async () => {
  daemon = await TestDaemon.start({ agentIds: AGENTS, env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '8' } });
  survivors = AGENTS.map(newKernel);
  for (const kernel of survivors)
    await withClient(kernel.agentId, async (client) => {
      await create(client, kernel);
      await outputOf(client, kernel, `kept = "${kernel.kernelId}"`);
    });
}, 120_000);
afterAll(() => daemon.dispose(), 120_000);

function newKernel(agentId: string): Kernel {
  return { agentId, kernelId: randomUUID(), sessionId: randomUUID() };
}

async function withClient<T>(agentId: string, use: (client: AgentClient) => Promise<T>): Promise<T> {
  const client = daemon.client(agentId);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

const create = (client: AgentClient, { kernelId, sessionId }: Kernel) =>
  client.createKernel({ ...SPEC, kernelId, sessionId });

async function outputOf(client: AgentClient, kernel: Kernel, code: string): Promise<string> {
  let output = '';
  for await (const event of client.run({ ...kernel, code }))
    if (event.type === 'stdout' || event.type === 'stderr') output += event.text;
  return output;
}

const journalOf = ({ agentId, kernelId }: Kernel) =>
  join(daemon.stateDirectory, 'agents', agentId, 'kernels', `${kernelId}.json`);
const scratchOf = ({ kernelId }: Kernel) => join(daemon.scratchRoot, kernelId);

/** The state that the journal has of the kernel; empty when it has none. */
function recordedState(kernel: Kernel): string {
  try {
    const record = JSON.parse(readFileSync(journalOf(kernel), 'utf8')) as {
      readonly state: { name: string };
    };
    return record.state.name;
  } catch {
    return '';
  }
}

const hasFile = (path: string, text: string): boolean => {
  try {
    return readFileSync(path, 'utf8').includes(text);
  } catch {
    return false;
  }
};

const belongsTo = (pid: string, { kernelId }: Kernel): boolean =>
  ['cmdline', 'environ'].some((file) => hasFile(`/proc/${pid}/${file}`, kernelId));

const hasProcess = (kernel: Kernel): boolean =>
  readdirSync('/proc').some((name) => /^\d+$/.test(name) && belongsTo(name, kernel));

/**
 * Calls, kills the daemon as soon as the moment has come or the call was answered, and starts it again.
 * @returns was there an answer?
 */
async function killDuring(
  agentId: string,
  call: (client: AgentClient) => Promise<unknown>,
  moment: () => boolean,
): Promise<boolean> {
  // Calls once: whether an answer came is what these tests are about.
  const once = { count: 0, firstDelayMs: 0, maxDelayMs: 0 };
  const client = daemon.client(agentId, daemon.manager, { retries: once });
  await eventually(() => client.ping(), PATIENT);
  const progress = { isOver: false };
  const settled = call(client).then(
    () => {
      progress.isOver = true;
      return null;
    },
    (error: unknown) => {
      progress.isOver = true;
      return error;
    },
  );
  while (!progress.isOver && !moment()) await pause(1);
  await daemon.kill();
  await pause(0);
  await client.close();
  const failure = await within(settled, { timeoutMs: 60_000, what: 'the end of the call that was cut off' });
  await daemon.resume();
  return failure === null;
}

/** What must hold whenever the daemon was killed, with these kernels beside the survivors. */
async function expectOrder(others: readonly Kernel[] = []): Promise<void> {
  const all = [...survivors, ...others];
  const ids = (kernels: readonly Kernel[]) => kernels.map(({ kernelId }) => kernelId).sort();
  await withClient('i-one', async (client) => {
    const listed = await client.withAgent(null).listKernels();
    expect(listed.map(({ kernel_id, state }) => [kernel_id, state]).sort()).toEqual(
      ids(all).map((id) => [id, 'running']),
    );
    const examined = await client.call('examine', {});
    expect(examined.filter(({ ok }) => !ok)).toEqual([]);
    const usage = await client.withAgent(null).call('describe_resources', {});
    for (const agent of usage) {
      const own = all.filter(({ agentId }) => agentId === agent.agent_id);
      expect(Object.keys(agent.kernels).sort()).toEqual(ids(own));
      expect(agent.slots['cpu']?.allocated).toBe(String(own.length));
    }
    for (const kernel of all)
      expect(await outputOf(client.withAgent(kernel.agentId), kernel, 'print(1 + 1)')).toBe('2\n');
    for (const kernel of survivors)
      expect(await outputOf(client.withAgent(kernel.agentId), kernel, 'print(kept)')).toBe(
        `${kernel.kernelId}\n`,
      );
  });
  expect((await readdir(daemon.scratchRoot)).sort()).toEqual(ids(all));
  for (const agentId of AGENTS) {
    const journals = await readdir(join(daemon.stateDirectory, 'agents', agentId, 'kernels'));
    expect(journals.sort()).toEqual(
      ids(all.filter((kernel) => kernel.agentId === agentId)).map((id) => `${id}.json`),
    );
  }
  // Every process that names this daemon's directory is one kernel's; one that is ending names nothing any more.
  for (const pid of (await daemon.kernelProcesses()).map(String))
    if (hasFile(`/proc/${pid}/cmdline`, daemon.directory))
      expect(all.filter((kernel) => belongsTo(pid, kernel))).toHaveLength(1);
}

const isListed = (kernel: Kernel): Promise<boolean> =>
  withClient(kernel.agentId, async (client) =>
    (await client.listKernels()).some(({ kernel_id }) => kernel_id === kernel.kernelId),
  );

/** As a manager does that got no answer: asks again until it has one. */
async function createAgain(kernel: Kernel): Promise<void> {
  await withClient(kernel.agentId, async (client) => {
    await create(client, kernel);
  });
}
async function destroyAgain(kernel: Kernel): Promise<void> {
  await withClient(kernel.agentId, (client) => client.destroyKernel(kernel));
}

const CREATION_MOMENTS: readonly (readonly [string, (kernel: Kernel) => boolean])[] = [
  ['the call is sent', () => true],
  ['the journal has the kernel', (kernel) => recordedState(kernel) !== ''],
  ['the scratch directory is there', (kernel) => existsSync(scratchOf(kernel))],
  ['its files are written', (kernel) => existsSync(join(scratchOf(kernel), 'config', 'resource.txt'))],
  ['the container has an id', (kernel) => hasFile(join(scratchOf(kernel), 'config', 'resource.txt'), 'CID=')],
  ['a process runs', hasProcess],
  ['the journal says running', (kernel) => recordedState(kernel) === 'running'],
  ['the answer is here', () => false],
];

test.each(CREATION_MOMENTS)('killed during a creation when %s', async (_title, moment) => {
  const kernel = newKernel('i-two');
  const answered = await killDuring(
    kernel.agentId,
    (client) => create(client, kernel),
    () => moment(kernel),
  );
  const survived = await isListed(kernel);
  if (answered) expect(survived).toBe(true);
  await expectOrder(survived ? [kernel] : []);
  await createAgain(kernel);
  await withClient(kernel.agentId, async (client) => {
    expect(await client.listKernels()).toContainEqual(
      expect.objectContaining({ kernel_id: kernel.kernelId, state: 'running' }),
    );
    expect(await outputOf(client, kernel, 'print("well")')).toBe('well\n');
  });
  await destroyAgain(kernel);
  await expectOrder();
});

const DESTRUCTION_MOMENTS: typeof CREATION_MOMENTS = [
  ['the call is sent', () => true],
  ['the journal says terminating', (kernel) => recordedState(kernel) === 'terminating'],
  ['its processes are gone', (kernel) => !hasProcess(kernel)],
  ['the scratch directory is gone', (kernel) => !existsSync(scratchOf(kernel))],
  ['the journal has forgotten it', (kernel) => recordedState(kernel) === ''],
  ['the answer is here', () => false],
];

test.each(DESTRUCTION_MOMENTS)('killed during a destruction when %s', async (_title, moment) => {
  const kernel = newKernel('i-one');
  await createAgain(kernel);
  const answered = await killDuring(
    kernel.agentId,
    (client) => client.destroyKernel(kernel),
    () => moment(kernel),
  );
  const survived = await isListed(kernel);
  if (answered) expect(survived).toBe(false);
  await expectOrder(survived ? [kernel] : []);
  await destroyAgain(kernel);
  await expectOrder();
});

/** Numbers from 0 to 1 that are the same in every run. */
function* randomNumbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

test.each([1, 2, 3, 4])('killed while kernels come and go on both agents, round %i', async (seed) => {
  const random = randomNumbers(seed);
  const leaving = AGENTS.map(newKernel);
  const coming = AGENTS.map(newKernel);
  await Promise.all(leaving.map(createAgain));
  const delayMs = random.next().value * 500;
  const begin = performance.now();
  const answered = new Set<string>();
  await killDuring(
    'i-one',
    async (client) => {
      const note = (kernel: Kernel) => (): void => void answered.add(kernel.kernelId);
      await Promise.all([
        ...leaving.map((kernel) => client.withAgent(kernel.agentId).destroyKernel(kernel).then(note(kernel))),
        ...coming.map((kernel) => create(client.withAgent(kernel.agentId), kernel).then(note(kernel))),
      ]);
    },
    () => performance.now() - begin > delayMs,
  );
  const left: Kernel[] = [];
  for (const kernel of [...leaving, ...coming]) if (await isListed(kernel)) left.push(kernel);
  for (const kernel of leaving) if (answered.has(kernel.kernelId)) expect(left).not.toContain(kernel);
  for (const kernel of coming) if (answered.has(kernel.kernelId)) expect(left).toContain(kernel);
  await expectOrder(left);
  await Promise.all([...leaving.map(destroyAgain), ...coming.map(createAgain)]);
  await expectOrder(coming);
  await Promise.all(coming.map(destroyAgain));
  await expectOrder();
});

describe('a batch job', () => {
  const text = async (client: AgentClient, kernel: Kernel, path: string) =>
    Buffer.from(await client.downloadFile(kernel.kernelId, path)).toString();
  const job = 'echo began >> begun.txt; while [ ! -e go ]; do sleep 0.1; done; echo done >> done.txt';
  const batchJournal = (kernel: Kernel) =>
    readdir(join(daemon.stateDirectory, 'agents', kernel.agentId, 'batch')).catch(() => []);

  test.each(['while the daemon is back', 'while the daemon is away'])(
    'that ends %s is done once',
    async (when) => {
      const kernel = newKernel('i-two');
      await createAgain(kernel);
      await withClient(kernel.agentId, async (client) => {
        const { kernelId, sessionId } = kernel;
        await client.call('trigger_batch_execution', {
          session_id: sessionId,
          kernel_id: kernelId,
          code: job,
          timeout: null,
        });
        await eventually(async () => {
          expect(await text(client, kernel, 'begun.txt')).toBe('began\n');
        }, PATIENT);
      });
      await daemon.kill();
      const work = join(scratchOf(kernel), 'work');
      if (when.endsWith('away')) {
        await writeFile(join(work, 'go'), '');
        await eventually(() => {
          expect(hasFile(join(work, 'done.txt'), 'done')).toBe(true);
        }, PATIENT);
      }
      await daemon.resume();
      await withClient(kernel.agentId, async (client) => {
        if (when.endsWith('back')) await client.uploadFile(kernel.kernelId, 'go', Buffer.from(''));
        await eventually(async () => {
          expect(await text(client, kernel, 'done.txt')).toBe('done\n');
          expect(await batchJournal(kernel)).toEqual([]);
        }, PATIENT);
        expect(await text(client, kernel, 'begun.txt')).toBe('began\n');
      });
      await destroyAgain(kernel);
      await expectOrder();
    },
  );
});

test('code that ran when the daemon was killed runs on, and can be interrupted', async () => {
  const [kernel] = survivors;
  if (!kernel) throw new Error('no survivor');
  const begun = join(scratchOf(kernel), 'work', 'begun');
  const answered = await killDuring(
    kernel.agentId,
    (client) =>
      client.call('execute', {
        session_id: kernel.sessionId,
        kernel_id: kernel.kernelId,
        api_version: 3,
        run_id: 'endless',
        mode: 'query',
        code: 'open("begun", "w").close()\nimport time\nwhile True: time.sleep(0.05)',
        opts: {},
        flush_timeout: null,
      }),
    () => existsSync(begun),
  );
  expect(answered).toBe(false);
  await withClient(kernel.agentId, (client) => client.interrupt(kernel.kernelId));
  await expectOrder();
});
