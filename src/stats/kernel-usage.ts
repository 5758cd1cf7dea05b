import { join } from 'node:path';
import type { UsageSource } from '../backends/backend.js';
import { mapBounded } from '../core/async.js';
import type { Questions } from '../core/questions.js';
import { parseField, parseProcessCpuMs, parseResidentBytes, parseTraffic } from './proc-files.js';

/** Counters of one kernel as they stand now. */
export interface KernelUsage {
  readonly cpuMs: number;
  readonly memoryBytes: number;
  /** Null: the system sets none. */
  readonly memoryLimitBytes: number | null;
  readonly ioReadBytes: number;
  readonly ioWriteBytes: number;
  /** Null: the kernel shares the machine's network, or nobody counts. */
  readonly traffic: { readonly receivedBytes: number; readonly sentBytes: number } | null;
  readonly processes: ReadonlyMap<number, ProcessUsage>;
}

export interface ProcessUsage {
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly ioReadBytes: number;
  readonly ioWriteBytes: number;
}

interface ReaderParts {
  /** Default: the machine's own files. */
  readonly readText: (path: string) => Promise<string>;
  readonly questions: Questions;
}

/** More would only wait for the same few threads. */
const KERNELS_AT_ONCE = 4;
/** Version 1 writes "no limit" as the largest number that fits, rounded to pages. */
const NO_LIMIT_FROM = 2 ** 60;

/**
 * Reads what kernels use from their cgroups, and from their processes where there is no counter of a cgroup. One file of
 * a kernel after the other: a kernel that hangs costs one thread.
 */
export class KernelUsageReader {
  readonly #parts: ReaderParts;
  readonly #reading = new Map<string, Promise<KernelUsage | null>>();

  constructor(parts: ReaderParts) {
    this.#parts = parts;
  }

  /** A kernel that cannot be read, or not in time, is left out of this round. Who asks meanwhile gets the same reading. */
  async read<Id extends string>(
    sources: ReadonlyMap<Id, UsageSource>,
  ): Promise<ReadonlyMap<Id, KernelUsage>> {
    const found = new Map<Id, KernelUsage>();
    await mapBounded(sources, KERNELS_AT_ONCE, async ([id, source]) => {
      const reading = this.#reading.get(id) ?? this.#ask(id, source);
      this.#reading.set(id, reading);
      const usage = await reading;
      if (usage) found.set(id, usage);
    });
    return found;
  }

  #ask(id: string, source: UsageSource): Promise<KernelUsage | null> {
    return this.#parts.questions
      .ask(`usage of kernel ${id}`, () => this.#kernel(source))
      .finally(() => this.#reading.delete(id));
  }

  async #kernel({ pids, cgroups, trafficFile }: UsageSource): Promise<KernelUsage | null> {
    const processes = new Map<number, ProcessUsage>();
    for (const pid of pids) {
      const usage = await this.#process(pid);
      if (usage) processes.set(pid, usage);
    }
    const counters = await this.#cgroupCounters(cgroups);
    if (processes.size === 0 && counters.cpuMs === null) return null;
    const traffic = trafficFile === undefined ? null : await this.#text(trafficFile);
    const sum = (of: (usage: ProcessUsage) => number): number => {
      let total = 0;
      for (const usage of processes.values()) total += of(usage);
      return total;
    };
    return {
      cpuMs: counters.cpuMs ?? sum(({ cpuMs }) => cpuMs),
      memoryBytes: counters.memoryBytes ?? sum(({ memoryBytes }) => memoryBytes),
      memoryLimitBytes: counters.memoryLimitBytes,
      ioReadBytes: counters.io?.readBytes ?? sum(({ ioReadBytes }) => ioReadBytes),
      ioWriteBytes: counters.io?.writeBytes ?? sum(({ ioWriteBytes }) => ioWriteBytes),
      traffic: traffic === null ? null : trafficOf(traffic),
      processes,
    };
  }

  /** Null when it has ended. */
  async #process(pid: number): Promise<ProcessUsage | null> {
    const directory = `/proc/${String(pid)}`;
    const stat = await this.#text(join(directory, 'stat'));
    const cpuMs = stat === null ? null : parseProcessCpuMs(stat);
    if (cpuMs === null) return null;
    const status = (await this.#text(join(directory, 'status'))) ?? '';
    // Of processes of other users only root may know this.
    const io = (await this.#text(join(directory, 'io'))) ?? '';
    return {
      cpuMs,
      memoryBytes: parseResidentBytes(status),
      ioReadBytes: parseField(io, 'read_bytes') ?? 0,
      ioWriteBytes: parseField(io, 'write_bytes') ?? 0,
    };
  }

  async #cgroupCounters(directories: readonly string[]): Promise<CgroupCounters> {
    const text = async (file: string): Promise<string | null> => {
      for (const directory of directories) {
        const content = await this.#text(join(directory, file));
        if (content !== null) return content;
      }
      return null;
    };
    const cpuNanoseconds = whole(await text('cpuacct.usage'));
    const cpuMicroseconds = parseField((await text('cpu.stat')) ?? '', 'usage_usec');
    const memory = whole((await text('memory.current')) ?? (await text('memory.usage_in_bytes')));
    const memoryStat = (await text('memory.stat')) ?? '';
    const cached =
      parseField(memoryStat, 'total_inactive_file') ?? parseField(memoryStat, 'inactive_file') ?? 0;
    const limit = whole((await text('memory.max')) ?? (await text('memory.limit_in_bytes')));
    return {
      cpuMs:
        cpuMicroseconds !== null
          ? cpuMicroseconds / 1e3
          : cpuNanoseconds !== null
            ? cpuNanoseconds / 1e6
            : null,
      memoryBytes: memory === null ? null : Math.max(0, memory - cached),
      memoryLimitBytes: limit === null || limit >= NO_LIMIT_FROM ? null : limit,
      io: blockIo(await text('io.stat')) ?? throttledIo(await text('blkio.throttle.io_service_bytes')),
    };
  }

  async #text(path: string): Promise<string | null> {
    try {
      return await this.#parts.readText(path);
    } catch {
      return null;
    }
  }
}

interface CgroupCounters {
  readonly cpuMs: number | null;
  readonly memoryBytes: number | null;
  readonly memoryLimitBytes: number | null;
  readonly io: BlockIo | null;
}

interface BlockIo {
  readonly readBytes: number;
  readonly writeBytes: number;
}

/** What a kernel says to itself is no traffic. */
function trafficOf(text: string): { readonly receivedBytes: number; readonly sentBytes: number } {
  const { receivedBytes, sentBytes } = parseTraffic(text, (name) => name !== 'lo');
  return { receivedBytes: Number(receivedBytes), sentBytes: Number(sentBytes) };
}

/** Null for `max` and for an absent file. */
const whole = (text: string | null): number | null =>
  text !== null && /^\d+\s*$/.test(text) ? Number(text) : null;

/** Version 2: `8:0 rbytes=1 wbytes=2 …`, one device a line; an empty file is a kernel that did none. */
function blockIo(text: string | null): BlockIo | null {
  return text === null
    ? null
    : { readBytes: sumOf(text, /\brbytes=(\d+)/g), writeBytes: sumOf(text, /\bwbytes=(\d+)/g) };
}

/** Version 1: `8:0 Read 1`, `8:0 Write 2`, `Total 3`. */
function throttledIo(text: string | null): BlockIo | null {
  return text === null
    ? null
    : { readBytes: sumOf(text, /^\S+ Read (\d+)$/gm), writeBytes: sumOf(text, /^\S+ Write (\d+)$/gm) };
}

function sumOf(text: string, pattern: RegExp): number {
  let total = 0;
  for (const [, number] of text.matchAll(pattern)) total += Number(number);
  return total;
}
