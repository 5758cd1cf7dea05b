import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** In place of a pid: there is no such process in any container, or it is in another one (spec/kernel-lifecycle.md 5.11). */
export const NO_PROCESS = -1;
export const OTHER_CONTAINER = -2;

const LONG_ID = /[0-9a-f]{64}/g;
/** Files that are read at the same time. */
const BATCH = 32;

interface ProcessPlace {
  /** By this process's count. */
  readonly hostPid: number;
  /** By the count of the outermost container; that of the host where it has no count of its own. */
  readonly containerPid: number;
  /** Full container ids in the paths of its cgroups. */
  readonly containers: ReadonlySet<string>;
}

/** Pids of the host and of containers, from `/proc`: the count from `NSpid`, the container from the cgroups. */
export class ContainerPids {
  readonly #proc: string;

  constructor(proc = '/proc') {
    this.#proc = proc;
  }

  /** What the container calls a process of the host. `containerId` is a full id. */
  async toContainer(containerId: string, hostPid: number): Promise<number> {
    const place = await this.#placeOf(hostPid);
    if (place === null) return NO_PROCESS;
    if (place.containers.has(containerId)) return place.containerPid;
    const around = await this.#around();
    return [...place.containers].some((id) => !around.has(id)) ? OTHER_CONTAINER : NO_PROCESS;
  }

  /** What the host calls a process of the container. Looks at all processes until it is found. */
  async toHost(containerId: string, containerPid: number): Promise<number> {
    const pids = (await readdir(this.#proc)).filter((name) => /^\d+$/.test(name)).map(Number);
    for (let from = 0; from < pids.length; from += BATCH) {
      const places = await Promise.all(
        pids.slice(from, from + BATCH).map((pid) => this.#placeOf(pid, containerPid)),
      );
      const found = places.find((place) => place?.containers.has(containerId));
      if (found) return found.hostPid;
    }
    return NO_PROCESS;
  }

  /** Null when it is not there, or is not known by the pid that is looked for. */
  async #placeOf(hostPid: number, lookedFor?: number): Promise<ProcessPlace | null> {
    if (hostPid <= 0) return null;
    const directory = join(this.#proc, String(hostPid));
    try {
      const status = await readFile(join(directory, 'status'), 'utf8');
      const pids = /^NSpid:\s*(.+)$/m.exec(status)?.[1]?.trim().split(/\s+/).map(Number) ?? [hostPid];
      const containerPid = pids[1] ?? hostPid;
      if (lookedFor !== undefined && containerPid !== lookedFor) return null;
      return { hostPid, containerPid, containers: await this.#containersOf(directory) };
    } catch {
      // It ended meanwhile, or was never there.
      return null;
    }
  }

  /** Containers that this program itself is in: all that it sees are in them. */
  async #around(): Promise<ReadonlySet<string>> {
    return this.#containersOf(join(this.#proc, 'self')).catch(() => new Set<string>());
  }

  async #containersOf(directory: string): Promise<ReadonlySet<string>> {
    return new Set((await readFile(join(directory, 'cgroup'), 'utf8')).match(LONG_ID) ?? []);
  }
}
