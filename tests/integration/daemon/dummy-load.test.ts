import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentClient, CreatedKernel } from '../../../src/client/agent-client.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';

const AGENTS = ['i-a', 'i-b', 'i-c'];
/** Together they need more sockets than ZeroMQ allows by itself. */
const KERNELS = 300;
const WISH = { image: 'dummy/load:1', resourceSlots: { cpu: '1', mem: '67108864' } };

/** No step takes longer than a moment; the delays of ranges differ from start to start. */
const QUICK = `
[agent.delay]
destroy-kernel = [0.0, 0.02]
clean-kernel = 0.01
[agent.resource.cpu]
num-core = 512
[agent.resource.memory]
size = "64G"
[kernel-creation-ctx.delay]
prepare-scratch = 0.01
prepare-ssh = 0
mount-krunner = 0
spawn = 0.01
start-container = [0.01, 0.03]
[kernel.delay]
check-status = 0
get-service-apps = 0.01
get-logs = 0
`;
const FAILING = `
[splenium.failure]
create = 0.1
start = 0.1
stop = 0.1
remove = [2, 3, 5, 8, 13]
`;

let daemon: TestDaemon;
const clients: AgentClient[] = [];

async function prepare(settings: string): Promise<void> {
  daemon = await TestDaemon.prepare({ agentIds: AGENTS, curve: false });
  let index = 0;
  const text = (await readFile(daemon.configPath, 'utf8'))
    .replace('backend = "process"', 'backend = "dummy"')
    // Four ports each, and some to spare.
    .replace(/port-range = \[\d+, \d+\]/g, () => {
      const first = 20_000 + 500 * index++;
      return `port-range = [${String(first)}, ${String(first + 499)}]`;
    });
  await writeFile(daemon.configPath, text);
  await writeFile(join(daemon.directory, 'agent.dummy.toml'), settings);
}

function client(agentId: string | null): AgentClient {
  const made = daemon.client(agentId);
  clients.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((made) => made.close()));
  await daemon.dispose();
}, 90_000);

/** Kernel by kernel on the agents in turn, all at once. */
const createAll = (agents: readonly AgentClient[]) =>
  Promise.allSettled(Array.from({ length: KERNELS }, (_, index) => turnOf(agents, index).createKernel(WISH)));

function turnOf(agents: readonly AgentClient[], index: number): AgentClient {
  const agent = agents[index % agents.length];
  if (!agent) throw new Error('no agents');
  return agent;
}

async function expectNothingLeft(agents: readonly AgentClient[]): Promise<void> {
  const all = client(null);
  expect(await all.listKernels()).toEqual([]);
  const examined = await all.call('examine', {});
  expect(examined.filter(({ ok }) => !ok)).toEqual([]);
  expect(await readdir(join(daemon.stateDirectory, 'dummy'))).toEqual([]);
  expect(await readdir(daemon.scratchRoot)).toEqual([]);
  // All that the node has can be given away again.
  // Steps that fail by chance do not fail for ever.
  const large = await eventually(() =>
    turnOf(agents, 0).createKernel({ ...WISH, resourceSlots: { cpu: '256', mem: '67108864' } }),
  );
  await turnOf(agents, 0).destroyKernel(large);
}

test('200 kernels on three agents come at once, outlive the daemon, and leave nothing when they go at once', async () => {
  await prepare(QUICK);
  await daemon.resume();
  const before = AGENTS.map(client);
  const created = (await createAll(before)).flatMap((outcome): CreatedKernel[] => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return [outcome.value];
  });
  expect(created).toHaveLength(KERNELS);
  expect(await client(null).listKernels()).toHaveLength(KERNELS);
  const [kernel] = created;
  if (!kernel) throw new Error('no kernel');
  const output: string[] = [];
  for await (const event of turnOf(before, 0).run({ ...kernel, code: 'x = 1' }))
    if (event.type === 'stdout') output.push(event.text);
  expect(output.join('')).toBe('not-implemented\n');
  await Promise.all(clients.splice(0).map((made) => made.close()));

  await daemon.kill();
  await daemon.resume();
  const agents = AGENTS.map(client);
  const found = await client(null).listKernels();
  expect(found.filter(({ state }) => state === 'running')).toHaveLength(KERNELS);
  expect(await turnOf(agents, 0).call('ping_kernel', { kernel_id: kernel.kernelId })).not.toBeNull();
  await Promise.all(created.map((one, index) => turnOf(agents, index).destroyKernel(one)));
  await expectNothingLeft(agents);
}, 180_000);

test('with steps that fail by chance, nothing stays of kernels that failed, and the books are whole', async () => {
  await prepare(QUICK + FAILING);
  await daemon.resume();
  const agents = AGENTS.map(client);
  const outcomes = await createAll(agents);
  const failed = outcomes.filter(({ status }) => status === 'rejected');
  expect(failed.length).toBeGreaterThan(0);
  expect(failed.length).toBeLessThan(KERNELS);
  const running = await client(null).listKernels();
  expect(running.length).toBeGreaterThan(0);
  await Promise.allSettled(
    outcomes.map((outcome, index) =>
      outcome.status === 'fulfilled' ? turnOf(agents, index).destroyKernel(outcome.value) : Promise.resolve(),
    ),
  );
  // A removal that fails is tried again in the background.
  await eventually(async () => {
    expect(await client(null).listKernels()).toEqual([]);
  });
  await expectNothingLeft(agents);
}, 180_000);

test('a daemon that has lost its journal takes its kernels over from their files', async () => {
  await prepare(QUICK);
  await daemon.resume();
  const [first] = AGENTS;
  const kernel = await client(first ?? '').createKernel(WISH);
  await Promise.all(clients.splice(0).map((made) => made.close()));
  await daemon.kill();
  await rm(join(daemon.stateDirectory, 'agents'), { recursive: true });
  await daemon.resume();
  const [found] = await client(null).listKernels();
  expect(found).toMatchObject({ kernel_id: kernel.kernelId, agent_id: first, state: 'running' });
  const agents = AGENTS.map(client);
  expect(await turnOf(agents, 0).call('ping_kernel', { kernel_id: kernel.kernelId })).not.toBeNull();
  await turnOf(agents, 0).destroyKernel(kernel);
  await expectNothingLeft(agents);
}, 180_000);
