import { ValueError } from '../../core/errors.js';

export type AffinityPolicy = 'PREFER_SINGLE_NODE' | 'INTERLEAVED';

/** Where a device sits; `numaNode` null and -1 are places of their own. */
export interface AffinityDevice {
  readonly deviceName: string;
  readonly deviceId: string;
  readonly numaNode: number | null;
}

/** Steers an allocation near the devices that the same kernel has been given before. */
export interface AffinityHint {
  /** Null or empty: this is the kernel's first resource. */
  readonly devices: readonly AffinityDevice[] | null;
  readonly map: AffinityMap;
  readonly policy: AffinityPolicy;
}

export interface Neighbors {
  /** One group for each NUMA node of the source, in ascending order; a group may be empty. */
  readonly primary: readonly (readonly AffinityDevice[])[];
  readonly secondary: readonly AffinityDevice[];
}

/**
 * Which devices of a node are near each other: those of one NUMA node (spec/config-and-resources.md 5.3). The
 * original keeps a complete graph with edges of weight 0 and 1; equal NUMA nodes say the same.
 */
export class AffinityMap {
  readonly #devices: ReadonlyMap<string, AffinityDevice>;

  constructor(devices: Iterable<AffinityDevice>) {
    const unique = new Map<string, AffinityDevice>();
    for (const device of devices) {
      const identity = `${device.deviceName}-${device.deviceId}`;
      if (!unique.has(identity)) unique.set(identity, device);
    }
    this.#devices = unique;
  }

  get devices(): readonly AffinityDevice[] {
    return [...this.#devices.values()];
  }

  get deviceNames(): readonly string[] {
    return [...new Set(this.devices.map(({ deviceName }) => deviceName))];
  }

  /** Devices of one family grouped by NUMA node, larger groups first, then in order of appearance. */
  clusters(deviceName: string): readonly (readonly AffinityDevice[])[] {
    const groups = new Map<number | null, AffinityDevice[]>();
    for (const device of this.#family(deviceName)) {
      const group = groups.get(device.numaNode);
      if (group) group.push(device);
      else groups.set(device.numaNode, [device]);
    }
    return [...groups.values()].sort((a, b) => b.length - a.length);
  }

  /** @throws ValueError when there is no source, or when it is of the same family. */
  neighbors(source: readonly AffinityDevice[], deviceName: string): Neighbors {
    const [first] = source;
    if (first === undefined)
      throw new ValueError(
        'This method must be called when there are previously allocated devices in a single allocation run.',
      );
    if (first.deviceName === deviceName)
      throw new ValueError(
        'This is a logic error trying to allocate the same resource slots twice in a single allocation run.',
      );
    const nodes = [...new Set(source.map(({ numaNode }) => numaNode))].sort(
      (a, b) => (a ?? Number.NEGATIVE_INFINITY) - (b ?? Number.NEGATIVE_INFINITY),
    );
    const family = this.#family(deviceName);
    return {
      primary: nodes.map((node) => family.filter(({ numaNode }) => numaNode === node)),
      secondary: family.filter(({ numaNode }) => !nodes.includes(numaNode)),
    };
  }

  #family(name: string): readonly AffinityDevice[] {
    return this.devices.filter(({ deviceName }) => deviceName === name);
  }
}
