import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { mapBounded, within } from '../../core/async.js';
import type { KernelId } from '../../core/ids.js';
import type { Questions } from '../../core/questions.js';
import type { KernelHandle, UsageSource } from '../backend.js';
import { type CgroupMount, containerCgroups, parseCgroupMounts } from './container-cgroups.js';
import type { EngineContainers } from './engine-containers.js';
import type { Container } from './engine-schemas.js';
import { isActive } from './exit-outcome.js';

const CONTAINERS_AT_ONCE = 8;
/** Cgroups of one container that are looked through for processes: it may have made some itself. */
const MOST_CGROUPS = 64;

export interface ContainerUsageOptions {
  readonly containers: Pick<EngineContainers, 'inspect'>;
  /** Limit of the engine's answer on one container: a broken one is left out and delays nobody. Default 1 s. */
  readonly itemTimeoutMs?: number;
  /** Through which files are read that may hang. */
  readonly questions: Questions;
  /** Default: `/proc`. */
  readonly proc?: string;
}

/**
 * Where the system counts what containers use, straight from its files. The engine is asked only for the first
 * process of a container of which nobody has heard, and again when that has changed; a process counts for a container
 * only while its cgroup carries the container's id, so an id that was given to another process leads nowhere.
 */
export class ContainerUsage {
  readonly #containers: Pick<EngineContainers, 'inspect'>;
  readonly #itemTimeoutMs: number;
  readonly #proc: string;
  readonly #questions: Questions;
  /** Containers on which the engine owes an answer. */
  readonly #asked = new Set<string>();
  /** Container id -> its first process, above 0. */
  readonly #pids = new Map<string, number>();

  constructor(options: ContainerUsageOptions) {
    this.#containers = options.containers;
    this.#itemTimeoutMs = options.itemTimeoutMs ?? 1000;
    this.#proc = options.proc ?? '/proc';
    this.#questions = options.questions;
  }

  /** What an inspection for another reason has shown. */
  learn(container: Container): void {
    const pid = isActive(container) ? container.State.Pid : 0;
    if (pid > 0) this.#pids.set(container.Id, pid);
    else this.#pids.delete(container.Id);
  }

  /** The container has ended. */
  forget(containerId: string): void {
    this.#pids.delete(containerId);
  }

  async sources(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>> {
    const mounts = parseCgroupMounts(await readFile(join(this.#proc, 'self', 'mountinfo'), 'utf8'));
    const networks = new Set(await Promise.all(['self', '1'].map((pid) => this.#networkOf(pid))));
    const found = new Map<KernelId, UsageSource>();
    await mapBounded(handles, CONTAINERS_AT_ONCE, async ({ kernelId, containerId }) => {
      const source = await this.#source(containerId, { mounts, networks });
      if (source) found.set(kernelId, source);
    });
    return found;
  }

  /** Null: the container has ended, or cannot be found in time. */
  async #source(id: string, machine: Machine): Promise<UsageSource | null> {
    const read = () => this.#questions.ask(`files of container ${id}`, () => this.#read(id, machine));
    const source = this.#pids.has(id) ? await read() : null;
    // Its process is known still, so there is nothing to ask the engine: the files do not answer.
    if (source || this.#pids.has(id)) return source;
    await this.#askEngine(id);
    return this.#pids.has(id) ? read() : null;
  }

  /** Its first process is remembered. Not asked again before an earlier question is answered. */
  async #askEngine(id: string): Promise<void> {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    const answer = this.#containers.inspect(id).then((container) => {
      if (container) this.learn(container);
    });
    const settled = (): void => {
      this.#asked.delete(id);
    };
    answer.then(settled, settled);
    const what = `the processes of container ${id}`;
    await within(answer, { timeoutMs: this.#itemTimeoutMs, what }).catch(() => undefined);
  }

  /** Null, and its process is forgotten, when that belongs to the container no more. */
  async #read(id: string, { mounts, networks }: Machine): Promise<UsageSource | null> {
    const pid = this.#pids.get(id);
    if (pid === undefined) return null;
    const text = await readFile(join(this.#proc, String(pid), 'cgroup'), 'utf8').catch(() => '');
    const cgroups = containerCgroups(text, mounts, id);
    if (cgroups.length === 0) {
      if (this.#pids.get(id) === pid) this.#pids.delete(id);
      return null;
    }
    const network = await this.#networkOf(String(pid));
    return {
      pids: await processesIn(cgroups),
      cgroups,
      // With the machine's own network the counters would be the machine's.
      ...(network === null || networks.has(network)
        ? {}
        : { trafficFile: join(this.#proc, String(pid), 'net', 'dev') }),
    };
  }

  async #networkOf(pid: string): Promise<string | null> {
    return readlink(join(this.#proc, pid, 'ns', 'net')).catch(() => null);
  }
}

/** What is the same for all containers of one look. */
interface Machine {
  readonly mounts: readonly CgroupMount[];
  readonly networks: ReadonlySet<string | null>;
}

/** Of the first hierarchy that can be read, and of what is below. */
async function processesIn(cgroups: readonly string[]): Promise<readonly number[]> {
  for (const top of cgroups) {
    const pids = new Set<number>();
    const waiting = [top];
    for (let looked = 0; looked < MOST_CGROUPS; looked += 1) {
      const directory = waiting.shift();
      if (directory === undefined) break;
      const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
      // 0 stands for a process that cannot be seen from here.
      for (const line of text.split('\n')) if (Number(line) > 0) pids.add(Number(line));
      const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
      for (const entry of entries) if (entry.isDirectory()) waiting.push(join(directory, entry.name));
    }
    if (pids.size > 0) return [...pids];
  }
  return [];
}
