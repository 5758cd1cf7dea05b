import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { within } from '../../../src/core/async.js';
import { hasCode, KeyError } from '../../../src/core/errors.js';
import { type AgentId, type KernelId, parseAgentId } from '../../../src/core/ids.js';
import { type LogFields, type Logger } from '../../../src/core/logger.js';
import { noMetrics } from '../../../src/core/metrics.js';
import type { AgentEvent, EventSink } from '../../../src/events/catalogue.js';
import type { Kernel } from '../../../src/kernels/kernel.js';
import { KernelJournal } from '../../../src/kernels/kernel-journal.js';
import { KernelLifecycle } from '../../../src/kernels/kernel-lifecycle.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import type {
  AllocationRequest,
  HostPorts,
  KernelAllocation,
  DeviceNeeds,
  KernelResources,
  KernelRunner,
  LifecycleSettings,
  RunnerConnector,
} from '../../../src/kernels/lifecycle/parts.js';
import type { ResourceSpec } from '../../../src/kernels/requests.js';
import { DEADLINE_MS, Faults, FaultyBackend } from '../../support/faulty-backend.js';
import { ManualClock } from '../../support/manual-clock.js';

const CORES = 8;
const FIRST_PORT = 30000;
const PORTS = 64;

/**
 * One agent's kernel lifecycle over a real journal and real scratch directories, with everything else in memory and
 * breakable. `crashed()` gives the bench of the daemon that starts after this one was killed.
 */
export class LifecycleBench {
  static readonly agentId: AgentId = parseAgentId('i-bench');
  readonly directory: string;
  readonly faults: Faults;
  readonly backend: FaultyBackend;
  readonly registry: KernelRegistry;
  readonly resources: BookedCores;
  readonly ports: BookedPorts;
  readonly runners: FakeRunners;
  readonly events: RecordedEvents;
  readonly clock = new ManualClock(1_000_000);
  readonly logger = new RecordedLogger();
  readonly journal: FaultyJournal;
  readonly lifecycle: KernelLifecycle;

  private constructor(
    directory: string,
    faults: Faults,
    backend: FaultyBackend,
    settings: Partial<LifecycleSettings>,
    told: ReadonlySet<string>,
  ) {
    const { agentId } = LifecycleBench;
    this.directory = directory;
    this.faults = faults;
    this.backend = backend;
    this.registry = new KernelRegistry(agentId);
    this.resources = new BookedCores(faults);
    this.ports = new BookedPorts(faults);
    this.runners = new FakeRunners(faults);
    this.events = new RecordedEvents(faults, told);
    this.journal = new FaultyJournal(faults, { stateDirectory: directory, agentId, logger: this.logger });
    this.lifecycle = new KernelLifecycle({
      agentId,
      backend,
      registry: this.registry,
      journal: this.journal,
      resources: this.resources,
      ports: this.ports,
      runners: this.runners,
      events: this.events,
      clock: this.clock,
      logger: this.logger,
      metrics: noMetrics,
      settings: {
        scratchRoot: this.scratchRoot,
        bindHost: '127.0.0.1',
        advertisedHost: null,
        architecture: 'x86_64',
        kernelUid: null,
        kernelGid: null,
        creationConcurrency: 4,
        readiness: { attempts: 10, attemptTimeoutMs: 60_000, totalTimeoutMs: 60_000, intervalMs: 300 },
        pullTimeoutMs: null,
        stopGraceMs: 10_000,
        ...settings,
      },
    });
  }

  static async open(settings: Partial<LifecycleSettings> = {}): Promise<LifecycleBench> {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-lifecycle-'));
    const faults = new Faults();
    return new LifecycleBench(directory, faults, new FaultyBackend(faults), settings, new Set());
  }

  /** The daemon was killed here; what hung never comes back. */
  crashed(settings: Partial<LifecycleSettings> = {}): LifecycleBench {
    const faults = new Faults();
    return new LifecycleBench(
      this.directory,
      faults,
      this.backend.successor(faults),
      settings,
      this.events.occurrences,
    );
  }

  get scratchRoot(): string {
    return join(this.directory, 'scratches');
  }

  async remove(): Promise<void> {
    await this.lifecycle.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** For a bench whose daemon was killed: what hangs in it fails without touching anything. */
  async abandon(): Promise<void> {
    this.faults.poison();
    await this.remove();
  }

  /** Resolves as soon as the condition holds after some change of a kernel or an event. */
  until(condition: () => boolean): Promise<void> {
    const met = new Promise<void>((resolve) => {
      const check = () => {
        if (condition()) resolve();
      };
      this.registry.onChange(check);
      this.events.onPublished(check);
      check();
    });
    return within(met, { timeoutMs: DEADLINE_MS, what: `waiting for ${condition.toString()}` });
  }

  /** What is left in this process and on the machine; equal to `NOTHING` when the agent is empty. */
  async leftovers(): Promise<Leftovers> {
    await within(this.lifecycle.whenIdle(), {
      timeoutMs: DEADLINE_MS,
      what: 'the lifecycle to come to rest',
    });
    return {
      kernels: [...this.registry].map(({ id }) => id),
      containers: this.backend.containers.map(({ handle }) => handle.containerId),
      cores: CORES - this.resources.freeCount,
      ports: PORTS - this.ports.freeCount,
      scratches: await names(this.scratchRoot),
      records: await names(this.journal.directory),
      links: this.runners.open.size,
    };
  }

  /** What is booked is what the kernels of the registry hold, to the core and the port. */
  conservation(): { readonly booked: unknown; readonly held: unknown } {
    const held = [...this.registry].filter(({ allocation }) => allocation !== null);
    return {
      booked: { cores: this.resources.owners(), ports: this.ports.owners() },
      held: {
        cores: Object.fromEntries(held.map((kernel) => [kernel.id, coresOf(kernel)])),
        ports: Object.fromEntries(
          [...this.registry].flatMap(({ id, ports }) => (ports ? [[id, [...ports.booked].sort()]] : [])),
        ),
      },
    };
  }
}

export interface Leftovers {
  readonly kernels: readonly string[];
  readonly containers: readonly string[];
  readonly cores: number;
  readonly ports: number;
  readonly scratches: readonly string[];
  readonly records: readonly string[];
  readonly links: number;
}

export const NOTHING: Leftovers = {
  kernels: [],
  containers: [],
  cores: 0,
  ports: 0,
  scratches: [],
  records: [],
  links: 0,
};

/** Points of one creation that needs a pull, in the order in which they are passed. */
export const CREATION_POINTS = [
  'journal.record:1',
  'events.publish:kernel_preparing',
  'images.isAvailable',
  'events.publish:kernel_pulling',
  'images.pull',
  'events.publish:kernel_creating',
  'resources.allocate',
  'ports.acquire',
  'backend.create',
  'backend.create:after',
  'journal.record:2',
  'backend.start',
  'backend.start:after',
  'runners.waitReady',
  'journal.record:3',
  'events.publish:kernel_started',
] as const;

export class FaultyJournal extends KernelJournal {
  readonly #faults: Faults;
  #writes = 0;

  constructor(faults: Faults, options: ConstructorParameters<typeof KernelJournal>[0]) {
    super(options);
    this.#faults = faults;
  }

  override async forget(kernelId: KernelId): Promise<void> {
    await this.#faults.pass('journal.forget');
    await super.forget(kernelId);
  }

  /** The n-th write fails or hangs before anything is on the disk, or after, at `…:after`. */
  override async record(kernel: Kernel): Promise<void> {
    this.#writes += 1;
    const point = `journal.record:${String(this.#writes)}`;
    await this.#faults.pass(point);
    await super.record(kernel);
    await this.#faults.pass(`${point}:after`);
  }
}

/** `cpu` in whole cores. A core has at most one owner at any time, or a method throws. */
export class BookedCores implements KernelResources {
  readonly #faults: Faults;
  readonly #owners = new Map<string, KernelId>();

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  get freeCount(): number {
    return CORES - this.#owners.size;
  }

  owners(): Record<string, readonly string[]> {
    const owners: Record<string, string[]> = {};
    for (const [core, kernelId] of this.#owners) (owners[kernelId] ??= []).push(core);
    return owners;
  }

  allocate(kernelId: KernelId, request: AllocationRequest): KernelAllocation {
    this.#faults.check('resources.allocate');
    if ([...this.#owners.values()].includes(kernelId)) throw new Error(`${kernelId} has resources already`);
    const wanted = Number(request.slots['cpu']);
    const free = Array.from({ length: CORES }, (_, core) => String(core)).filter(
      (core) => !this.#owners.has(core),
    );
    if (free.length < wanted) throw new Error(`insufficient: ${String(wanted)} of ${String(free.length)}`);
    const taken = free.slice(0, wanted);
    for (const core of taken) this.#owners.set(core, kernelId);
    return {
      slots: request.slots,
      allocations: { cpu: { cpu: Object.fromEntries(taken.map((core) => [core, '1'])) } },
    };
  }

  restore(kernelId: KernelId, allocation: KernelAllocation): void {
    this.#faults.check('resources.restore');
    for (const core of coresIn(allocation)) {
      if (this.#owners.has(core))
        throw new Error(`core ${core} belongs to ${String(this.#owners.get(core))}`);
      this.#owners.set(core, kernelId);
    }
  }

  free(kernelId: KernelId): void {
    for (const [core, owner] of this.#owners) if (owner === kernelId) this.#owners.delete(core);
  }

  environment(): Readonly<Record<string, string>> {
    return {};
  }

  deviceArguments(): Readonly<Record<string, unknown>> {
    return {};
  }

  deviceNeeds(): DeviceNeeds {
    return { files: {}, mounts: [], hooks: [], networks: [], gids: [], syscalls: [] };
  }

  attachedDevices(): Readonly<Record<string, never[]>> {
    return { cpu: [], mem: [] };
  }

  limits(allocation: KernelAllocation): {
    readonly cpuCores: readonly number[];
    readonly memoryBytes: number;
  } {
    return { cpuCores: coresIn(allocation).map(Number), memoryBytes: Number(allocation.slots['mem']) };
  }

  resourceText(allocation: KernelAllocation, mounts: ResourceSpec['mounts']): string {
    return `${JSON.stringify({ allocation, mounts })}\n`;
  }

  /** This bench's own form; the container's id follows as a line. */
  readResourceText(text: string): {
    readonly allocation: KernelAllocation;
    readonly mounts: ResourceSpec['mounts'];
  } {
    return JSON.parse(text.split('\n')[0] ?? '') as ReturnType<BookedCores['readResourceText']>;
  }
}

export class BookedPorts implements HostPorts {
  readonly #faults: Faults;
  readonly #owners = new Map<number, KernelId>();

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  get freeCount(): number {
    return PORTS - this.#owners.size;
  }

  owners(): Record<string, readonly number[]> {
    const owners: Record<string, number[]> = {};
    for (const [port, kernelId] of this.#owners) (owners[kernelId] ??= []).push(port);
    for (const ports of Object.values(owners)) ports.sort();
    return owners;
  }

  async acquire(kernelId: KernelId, count: number): Promise<readonly number[]> {
    await this.#faults.pass('ports.acquire');
    const free = Array.from({ length: PORTS }, (_, index) => FIRST_PORT + index).filter(
      (port) => !this.#owners.has(port),
    );
    if (free.length < count) throw new KeyError('no free port');
    const taken = free.slice(0, count);
    for (const port of taken) this.#owners.set(port, kernelId);
    return taken;
  }

  async exchange(kernelId: KernelId, ports: readonly number[]): Promise<readonly number[]> {
    const fresh = await this.acquire(kernelId, ports.length);
    for (const port of ports) this.#owners.delete(port);
    return fresh;
  }

  preview(count: number): readonly number[] {
    const ports = Array.from({ length: PORTS }, (_, index) => FIRST_PORT + index);
    return ports.filter((port) => !this.#owners.has(port)).slice(0, count);
  }

  restore(kernelId: KernelId, ports: readonly number[]): void {
    for (const port of ports) {
      const owner = this.#owners.get(port);
      if (owner !== undefined && owner !== kernelId)
        throw new Error(`port ${String(port)} belongs to ${owner}`);
      this.#owners.set(port, kernelId);
    }
  }

  releaseAll(kernelId: KernelId): void {
    for (const [port, owner] of this.#owners) if (owner === kernelId) this.#owners.delete(port);
  }
}

export class FakeRunners implements RunnerConnector {
  readonly #faults: Faults;
  /** Kernel id -> endpoint of its open link. */
  readonly open = new Map<KernelId, string>();

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  connect(kernelId: KernelId, endpoints: { readonly replIn: string }): KernelRunner {
    this.#faults.check('runners.connect');
    if (this.open.has(kernelId)) throw new Error(`${kernelId} has a link already`);
    this.open.set(kernelId, endpoints.replIn);
    return {
      waitReady: async ({ signal }) => {
        await this.#faults.pass('runners.waitReady', signal);
        return [{ name: 'jupyter', urlTemplate: 'http://{host}:{port}/lab' }];
      },
      close: () => this.disconnect(kernelId),
    };
  }

  async disconnect(kernelId: KernelId): Promise<void> {
    await this.#faults.pass('runners.disconnect');
    this.open.delete(kernelId);
  }
}

/** As with the outbox, an occurrence that an earlier process has told of is not told again. */
export class RecordedEvents implements EventSink {
  readonly #faults: Faults;
  readonly #told: ReadonlySet<string>;
  readonly #telling = new Set<string>();
  readonly all: AgentEvent[] = [];
  readonly #listeners: (() => void)[] = [];

  constructor(faults: Faults, told: ReadonlySet<string>) {
    this.#faults = faults;
    this.#told = told;
  }

  /** The occurrences of this process and of earlier ones. */
  get occurrences(): ReadonlySet<string> {
    return new Set([...this.#told, ...this.#telling]);
  }

  get names(): readonly string[] {
    return this.all.map(({ name }) => name);
  }

  /** `reason` of every `kernel_terminated`, of one kernel or of all. */
  terminations(kernelId?: KernelId): readonly string[] {
    return this.all.flatMap((event) =>
      event.name === 'kernel_terminated' && (kernelId === undefined || event.kernelId === kernelId)
        ? [event.reason]
        : [],
    );
  }

  onPublished(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async publish(_source: AgentId, event: AgentEvent, occurrence?: string): Promise<void> {
    await this.#faults.pass(`events.publish:${event.name}`);
    if (occurrence !== undefined) {
      if (this.#told.has(occurrence)) return;
      this.#telling.add(occurrence);
    }
    this.all.push(event);
    for (const listener of this.#listeners) listener();
  }
}

export class RecordedLogger implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: LogFields }[] = [];

  debug(): void {
    // Of no interest to these tests.
  }
  info(): void {
    // Of no interest to these tests.
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'warn', message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'error', message, fields });
  }
  child(): Logger {
    return this;
  }

  messages(level: 'warn' | 'error'): readonly string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
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

function coresIn(allocation: KernelAllocation): readonly string[] {
  return Object.keys(allocation.allocations['cpu']?.['cpu'] ?? {});
}

function coresOf(kernel: Kernel): readonly string[] {
  return kernel.allocation ? coresIn(kernel.allocation) : [];
}
