import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostedAgent } from '../../../src/agent/hosted-agent.js';
import { hasCode, isSpleniumError, messageOf } from '../../../src/core/errors.js';
import { type AgentId, type KernelId, parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { AggregateKernelRegistry } from '../../../src/kernels/aggregate-kernel-registry.js';
import type { Kernel } from '../../../src/kernels/kernel.js';
import {
  CpuPlugin,
  MemoryPlugin,
  MockPlugin,
  type NodeResourcesOptions,
} from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { Faults, FaultyBackend } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ManualClock } from '../../support/manual-clock.js';
import { randomNumbers } from '../../support/random-numbers.js';
import { AgentBench, NEVER } from './agent-bench.js';

const AGENTS = ['i-a', 'i-b', 'i-c'].map(parseAgentId);
/** Few, so that agents want the same ids, and kernels come back under ids of before. */
const KERNELS = Array.from({ length: 14 }, (_, index) =>
  parseKernelId(`00000000-0000-4000-8000-${String(index).padStart(12, '0')}`),
);
const STEPS = 120;
const CORES = 8;
const GPUS = 5;
const GIB = 1024n ** 3n;
/** Where a verb of the machine can fail, or the daemon be killed. */
const POINTS = [
  ...['images.isAvailable', 'images.pull', 'backend.inspect'],
  ...['create', 'start', 'stop', 'remove'].flatMap((verb) => [`backend.${verb}`, `backend.${verb}:after`]),
];

const amounts = (cpu: number, gpu: number) => ({
  slots: { cpu: String(cpu), mem: '4g', 'cuda.device': String(gpu) },
});
const ids = (cpu: readonly number[], cuda: readonly number[]) => ({
  slots: { mem: '4g' },
  deviceIds: { cpu: cpu.map(String), cuda: cuda.map(String) },
});
const MODES: Readonly<Record<string, Pick<NodeResourcesOptions, 'mode' | 'agents'>>> = {
  shared: { mode: 'shared', agents: AGENTS.map((id) => ({ id })) },
  'auto-split': { mode: 'auto-split', agents: AGENTS.map((id) => ({ id })) },
  'manual by amount': {
    mode: 'manual',
    agents: AGENTS.map((id, index) => ({ id, manual: amounts(index + 1, index === 0 ? 3 : 1) })),
  },
  'manual by device': {
    mode: 'manual',
    agents: [
      { id: AGENTS[0] as AgentId, manual: ids([0, 5], [4, 0]) },
      { id: AGENTS[1] as AgentId, manual: ids([1, 2, 3], [2]) },
      { id: AGENTS[2] as AgentId, manual: ids([7], [1, 3]) },
    ],
  },
};

/** A node of three agents whose kernels come, go, fail and survive at random; see `step`. */
class RandomNode {
  readonly #mode: Pick<NodeResourcesOptions, 'mode' | 'agents'>;
  readonly #random: (bound: number) => number;
  readonly #runners = new FakeRunners();
  readonly #clock = new ManualClock();
  #backend = new FaultyBackend();
  #kernels = new AggregateKernelRegistry();
  #bench!: AgentBench;
  /** Stays where it is when the rest is copied: kernels know where their files are. */
  #scratchRoot = '';
  /** How often something of interest happened, so that a test can tell that it tested something. */
  readonly counts: Record<string, number> = {};

  private constructor(mode: Pick<NodeResourcesOptions, 'mode' | 'agents'>, seed: number) {
    this.#mode = mode;
    this.#random = randomNumbers(seed);
    this.#backend.endpointsOf = this.#runners.endpointsOf;
  }

  static async start(mode: Pick<NodeResourcesOptions, 'mode' | 'agents'>, seed: number): Promise<RandomNode> {
    const node = new RandomNode(mode, seed);
    node.#scratchRoot = await mkdtemp(join(tmpdir(), 'spl-own-scratches-'));
    await node.#open(await mkdtemp(join(tmpdir(), 'spl-own-')));
    return node;
  }

  /** Does one thing and returns what it was. */
  async step(): Promise<string> {
    const action = this.#random(100);
    if (action < 45) return this.#create();
    if (action < 60) return this.#destroy();
    if (action < 68) return this.#restart();
    if (action < 76) return this.#exit();
    if (action < 84) return this.#atOnce();
    if (action < 90) return this.#timePasses();
    if (action < 94) return this.#restartDaemon();
    return this.#killDaemon();
  }

  /** @throws naming what has two owners, or what is nobody's. */
  check(): void {
    this.#bench.node.checkInvariants();
    for (const agent of this.#bench.agents) expect(agent.examine()).toEqual([]);
    const owners = new Map<string, string>();
    const own = (thing: string, owner: string) => {
      const other = owners.get(thing);
      if (other !== undefined) throw new Error(`${thing} has two owners: ${other} and ${owner}`);
      owners.set(thing, owner);
    };
    for (const kernel of this.#kernels) {
      own(`scratch ${kernel.id}`, kernel.agentId);
      if (kernel.containerId !== null) own(`container ${kernel.containerId}`, kernel.id);
      for (const port of kernel.ports?.booked ?? []) own(`port ${String(port)}`, kernel.id);
      for (const device of devicesOf(kernel)) {
        own(device, kernel.id);
        if (this.#mode.mode !== 'shared') this.#expectToOwn(kernel.agentId, device);
      }
    }
    if (this.#mode.mode !== 'shared')
      for (const agent of this.#bench.agents)
        for (const [name, devices] of Object.entries(agent.resourceUsage().devices))
          if (name !== 'mem') for (const id of Object.keys(devices)) own(`part of ${name} ${id}`, agent.id);
    for (const { handle, status } of this.#backend.containers) {
      const kernel = this.#kernels.find(handle.kernelId);
      expect(kernel?.containerId).toBe(handle.containerId);
      if (kernel?.state.name === 'running') expect(status).toBe('running');
    }
    this.#runners.keepOnly(this.#backend.containers.map(({ handle }) => handle));
  }

  /** Ends all kernels and looks for anything left. */
  async expectEmptyAfterReset(): Promise<void> {
    this.#backend.faults.heal();
    for (const agent of this.#bench.agents) await agent.reset(NEVER);
    this.check();
    expect([...this.#kernels]).toEqual([]);
    expect(this.#backend.containers).toEqual([]);
    for (const [index, agent] of this.#bench.agents.entries()) {
      for (const usage of Object.values(agent.resourceUsage().slots))
        expect(usage).toMatchObject({ allocated: '0', allocatedBySiblings: '0', free: usage.capacity });
      const pool = this.#bench.pools[index];
      expect(pool?.freeCount).toBe(pool?.capacity);
      const records = join(AgentBench.stateDirectoryOf(this.#bench.directory, agent.id), 'kernels');
      expect(await names(records)).toEqual([]);
    }
    expect(await names(this.#scratchRoot)).toEqual([]);
  }

  async close(): Promise<void> {
    this.#backend.faults.heal();
    await this.#bench.stop();
    await this.#bench.remove();
    await rm(this.#scratchRoot, { recursive: true, force: true });
    await this.#runners[Symbol.asyncDispose]();
  }

  async #open(directory: string): Promise<void> {
    this.#bench = await AgentBench.start(this.#backend, {
      directory,
      clock: this.#clock,
      agentIds: AGENTS,
      settings: { creationConcurrency: 1 + this.#random(3), scratchRoot: this.#scratchRoot },
      resources: { ...this.#mode, plugins: plugins() },
    });
    this.#kernels = new AggregateKernelRegistry();
    for (const { kernels } of this.#bench.agents) this.#kernels.attach(kernels);
  }

  #expectToOwn(agentId: AgentId, device: string): void {
    const usage = this.#agent(agentId).resourceUsage().devices;
    const [name = '', id = ''] = device.split(' ');
    expect(Object.keys(usage[name] ?? {})).toContain(id);
    const wanted = this.#mode.agents.find((agent) => agent.id === agentId)?.manual?.deviceIds?.[name];
    if (wanted) expect(wanted).toContain(id);
  }

  // What can happen

  async #create(): Promise<string> {
    const kernelId = this.#pick(KERNELS);
    const agent = this.#pick(this.#bench.agents);
    const fault = this.#maybeFail();
    await this.#tried(this.#creation(agent, kernelId), 'created');
    return `create ${kernelId} on ${agent.id}${fault}`;
  }

  async #destroy(): Promise<string> {
    const kernel = this.#pickKernel();
    if (!kernel) return 'destroy nothing';
    const fault = this.#maybeFail();
    await this.#tried(this.#destruction(kernel), 'destroyed');
    return `destroy ${kernel.id}${fault}`;
  }

  async #restart(): Promise<string> {
    const kernel = this.#pickKernel();
    if (!kernel) return 'restart nothing';
    const fault = this.#maybeFail();
    await this.#tried(this.#restarting(kernel), 'restarted');
    return `restart ${kernel.id}${fault}`;
  }

  async #exit(): Promise<string> {
    const kernel = this.#pickKernel();
    if (kernel?.state.name !== 'running') return 'exit of nothing';
    this.#backend.faults.heal();
    this.#backend.exit(kernel.id, this.#random(3));
    await eventually(
      () => {
        if (this.#kernels.find(kernel.id) === kernel)
          throw new Error(`${kernel.id} exited but is still here`);
      },
      { intervalMs: 1 },
    );
    this.#count('exited');
    return `exit of ${kernel.id}`;
  }

  /** Several requests for the same few kernels, none waiting for another. */
  async #atOnce(): Promise<string> {
    const kernelIds = [this.#pick(KERNELS), this.#pick(KERNELS)];
    const fault = this.#maybeFail();
    const work = Array.from({ length: 6 }, () => {
      const kernelId = this.#pick(kernelIds);
      const kernel = this.#kernels.find(kernelId);
      if (kernel && this.#random(3) === 0) return this.#restarting(kernel);
      if (kernel && this.#random(2) === 0) return this.#destruction(kernel);
      return this.#creation(this.#pick(this.#bench.agents), kernelId);
    });
    await Promise.all(work.map((one) => this.#tried(one, 'at once')));
    return `at once on ${kernelIds.join(' and ')}${fault}`;
  }

  /** What could not be ended is tried again, and creations that were broken off may be repeated. */
  async #timePasses(): Promise<string> {
    this.#clock.advance(61_000);
    for (const kernel of this.#kernels)
      if (kernel.termination) await this.#tried(this.#destruction(kernel), 'ended later');
    return 'time passes';
  }

  async #restartDaemon(): Promise<string> {
    await this.#bench.stop();
    this.#backend = this.#backend.successor(new Faults());
    this.#endSomeSilently();
    await this.#open(this.#bench.directory);
    this.#count('daemon restarted');
    return 'restart of the daemon';
  }

  /** In the middle of something: what is on the disk at that moment is all that the next daemon knows. */
  async #killDaemon(): Promise<string> {
    const { faults } = this.#backend;
    faults.heal();
    const point = this.#pick(POINTS);
    const before = faults.passed.length;
    faults.hang(point);
    const kernel = this.#pickKernel();
    const work = [
      () => this.#creation(this.#pick(this.#bench.agents), this.#pick(KERNELS)),
      ...(kernel ? [() => this.#destruction(kernel), () => this.#restarting(kernel)] : []),
    ];
    let isOver = false;
    const end = () => {
      isOver = true;
    };
    void this.#pick(work)().then(end, end);
    const isAtRest = await eventually(
      () => {
        if (!isOver && !faults.passed.slice(before).includes(point)) throw new Error(`${point} not reached`);
        return isOver;
      },
      { intervalMs: 1 },
    );
    const where = isAtRest ? 'at rest' : `at ${point}`;
    this.#count(isAtRest ? 'daemon killed' : 'daemon killed in the middle');
    const directory = await copyOf(this.#bench.directory);
    faults.poison();
    await this.#bench.stop();
    await this.#bench.remove();
    this.#backend = this.#backend.successor(new Faults());
    this.#endSomeSilently();
    await this.#open(directory);
    return `the daemon is killed ${where}`;
  }

  #endSomeSilently(): void {
    for (const { handle, status } of this.#backend.containers) {
      const chance = this.#random(8);
      if (chance === 0 && status === 'running') this.#backend.exit(handle.kernelId, 1, { silently: true });
      if (chance === 1) this.#backend.vanish(handle.kernelId);
    }
  }

  // Requests

  #creation(agent: HostedAgent, kernelId: KernelId): Promise<unknown> {
    const gpu = this.#random(3);
    const resourceSlots = {
      cpu: String(1 + this.#random(2)),
      mem: '268435456',
      ...(gpu === 0 ? {} : { 'cuda.device': String(gpu) }),
    };
    return agent.createKernels([kernelRequest({ kernelId, config: { resourceSlots } })], NEVER);
  }

  #destruction({ agentId, id: kernelId, sessionId }: Kernel): Promise<void> {
    return this.#agent(agentId).destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
  }

  #restarting({ agentId, id: kernelId, sessionId, request }: Kernel): Promise<unknown> {
    const restart = { kernelId, sessionId, imageRef: request.imageRef, updatedConfig: {} };
    return this.#agent(agentId).restartKernel(restart, NEVER);
  }

  async #tried(work: Promise<unknown>, what: string): Promise<void> {
    try {
      await work;
      this.#count(what);
    } catch (error) {
      // Everything may be refused or fail, but never because this program got something wrong.
      if (!isSpleniumError(error) || hasCode(error, 'INVARIANT'))
        throw new Error(`not an error for users: ${messageOf(error)}`, { cause: error });
      this.#count(`${what}: ${error.pythonName}`);
    }
  }

  #maybeFail(): string {
    if (this.#random(3) !== 0) return '';
    const point = this.#pick(POINTS);
    this.#backend.faults.fail(point);
    return `, ${point} fails`;
  }

  #agent(agentId: AgentId): HostedAgent {
    const agent = this.#bench.agents.find(({ id }) => id === agentId);
    if (!agent) throw new Error(`no agent ${agentId}`);
    return agent;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random(choices.length)] as T;
  }

  #pickKernel(): Kernel | undefined {
    const kernels = [...this.#kernels];
    return kernels.length === 0 ? undefined : this.#pick(kernels);
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}

const plugins = () => [
  new MockPlugin({
    key: 'cuda',
    slots: [{ slotName: 'cuda.device' }],
    allocation: { kind: 'discrete' },
    devices: Array.from({ length: GPUS }, (_, index) => ({ deviceId: String(index) })),
  }),
  new CpuPlugin({ fixedCores: CORES }),
  new MemoryPlugin({ fixedBytes: 16n * GIB }),
];

/** `cpu 3`: whole devices only, memory is counted by the ledger alone. */
const devicesOf = ({ allocation }: Kernel): readonly string[] =>
  Object.entries(allocation?.allocations ?? {}).flatMap(([name, slots]) =>
    name === 'mem'
      ? []
      : Object.values(slots).flatMap((perDevice) =>
          Object.entries(perDevice).flatMap(([id, amount]) => (amount === '0' ? [] : [`${name} ${id}`])),
        ),
  );

/** Of a directory in which a last write may be under way. */
async function copyOf(directory: string): Promise<string> {
  for (;;) {
    const copy = await mkdtemp(join(tmpdir(), 'spl-own-'));
    try {
      await cp(directory, copy, { recursive: true });
      return copy;
    } catch (error) {
      await rm(copy, { recursive: true, force: true });
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }
}

async function names(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

describe.each(Object.entries(MODES))('%s', (_title, mode) => {
  test.each([1, 2])(
    'three agents never own one thing, seed %i',
    async (seed) => {
      const node = await RandomNode.start(mode, seed);
      const done: string[] = [];
      try {
        for (let step = 0; step < STEPS; step += 1) {
          done.push(await node.step());
          node.check();
        }
        await node.expectEmptyAfterReset();
      } catch (error) {
        const last = done.slice(-5).join('; ');
        throw new Error(
          `seed ${String(seed)}, after ${String(done.length)} steps (${last}): ${messageOf(error)}`,
          {
            cause: error,
          },
        );
      } finally {
        await node.close();
      }
      expect(node.counts['created']).toBeGreaterThan(10);
    },
    120_000,
  );
});
