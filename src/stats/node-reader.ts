import type { Clock } from '../core/clock.js';
import type { PluginMeasures } from '../resources/index.js';
import type { DiskSpace, DiskUsage } from './disk-usage.js';
import { parseCpuTimes, parseTraffic, type Traffic } from './proc-files.js';

/** What the whole node uses, as one pass over its files and devices has found it. */
export interface NodeReading {
  /** When it was complete, monotonic. */
  readonly atMs: number;
  /** Index of each logical CPU -> milliseconds in user and system mode, and when that was read. */
  readonly cpu: { readonly atMs: number; readonly timesMs: ReadonlyMap<string, number> } | null;
  readonly disks: readonly DiskSpace[] | null;
  readonly traffic: Traffic | null;
  readonly devices: readonly PluginMeasures[];
}

interface NodeReaderParts {
  readonly readText: (path: string) => Promise<string>;
  readonly disks: DiskUsage;
  /** A plugin without an answer in time has none. */
  readonly devices: () => Promise<readonly PluginMeasures[]>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** Looks at the node once for all agents. What cannot be read is null. */
export class NodeReader {
  readonly #parts: NodeReaderParts;

  constructor(parts: NodeReaderParts) {
    this.#parts = parts;
  }

  async read(): Promise<NodeReading> {
    const { disks, devices, clock } = this.#parts;
    const [cpu, space, traffic, measured] = await Promise.all([
      this.#cpu(),
      disks.measure().catch(() => null),
      this.#text('/proc/net/dev'),
      devices(),
    ]);
    return {
      atMs: clock.monotonicMs(),
      cpu,
      disks: space,
      traffic: traffic === null ? null : parseTraffic(traffic),
      devices: measured,
    };
  }

  async #cpu(): Promise<NodeReading['cpu']> {
    const text = await this.#text('/proc/stat');
    const atMs = this.#parts.clock.monotonicMs();
    return text === null ? null : { atMs, timesMs: parseCpuTimes(text) };
  }

  #text(path: string): Promise<string | null> {
    return this.#parts.readText(path).catch(() => null);
  }
}
