import type { Logger } from '../../core/logger.js';
import type { AllocationStyle } from '../alloc-map/create.js';
import type { SlotType } from '../quantity/slot-name.js';

/**
 * What the agent asks of whatever provides devices: cores, memory, accelerators (spec/config-and-resources.md 6.1).
 * See docs/guides/write-a-device-plugin.md.
 *
 * A plugin answers questions; it books nothing. Who has which device is the ledger's matter (`NodeResources`), and a
 * plugin is shared by all agents of the process, so it must not remember who asked.
 */
export interface DevicePlugin {
  /** Name of the device family, lower case: `cuda`. Slots other than `cpu` and `mem` are `<key>.<something>`. */
  readonly key: string;
  /** Whole units or fractions; one device after the other, or all evenly. */
  readonly allocation: AllocationStyle;
  /** Names or patterns of slots that one kernel must not combine. */
  readonly exclusiveSlots?: readonly string[];

  /**
   * The slots this plugin provides, with or without devices behind them. Read again after each `discover`, which may
   * have found new ones.
   */
  slots(): readonly SlotDescription[];
  /**
   * The devices that can be given to kernels now, always in the same order. Called at start and on each re-scan; a
   * device that is left out gets no new kernels. A failure at start leaves the plugin out, later it changes nothing.
   */
  discover(): Promise<readonly Device[]>;

  /** Environment variables of a kernel, also of one that is given none of the devices. */
  environment?(granted: Granted): Readonly<Record<string, string>>;
  /** Fragment of Docker's `HostConfig`; fragments of all plugins are merged, lists joined. */
  dockerArguments?(granted: Granted): DockerArguments;
  /**
   * The five below are asked only for a kernel that has some of the devices, and matter to containers only; a kernel
   * without a mount namespace sees the machine's own files.
   *
   * Files of the kernel, by name: `/home/config/<key>/<name>` inside.
   */
  files?(granted: Granted): Readonly<Record<string, string>>;
  /** Further mounts. `directory` is where the files above are on this machine. */
  mounts?(granted: Granted, directory: string): readonly DeviceMount[];
  /** Shared libraries of this machine that every process of the kernel loads first. */
  hooks?(granted: Granted): readonly string[];
  /** Names of container networks that the kernel joins after its start. */
  networks?(granted: Granted): readonly string[];
  /** What the kernel's user and its processes may do beyond the usual to use the devices. */
  privileges?(granted: Granted): DevicePrivileges;
  /** Lines for the kernel's `resource.txt`. */
  resourceData?(granted: Granted): Readonly<Record<string, string>>;
  /** What the manager is told about each device given out. Without it: id and model name. */
  attachedDevices?(granted: Granted): readonly DeviceAttachment[];
  /** Health of the family. Absent: the plugin does not know, and is left out of the answer. */
  hardwareInfo?(): Promise<HardwareInfo>;
  /** Measures of the whole node; each agent's part is made from them by its scaling factor. */
  measure?(): Promise<readonly DeviceMeasure[]>;
  /** Facts for the heartbeat. */
  describe?(): { readonly version: string; readonly facts: Readonly<Record<string, string>> };
  /**
   * All settings of the store, whenever one has changed while the plugin runs. What it can use at once is in force with
   * the `discover` that follows. Returns the names of changed settings that need a restart; without this method all do.
   * @throws for settings that cannot be used: then everything stays as it was.
   */
  updateSettings?(settings: Readonly<Record<string, string>>): Promise<readonly string[]>;
  close?(): Promise<void>;
}

/** What a plugin package's default export must be. */
export interface DevicePluginFactory {
  readonly apiVersion: 1;
  /** Undefined: nothing of this kind on the machine. */
  create(context: DevicePluginContext): Promise<DevicePlugin | undefined>;
}

export interface DevicePluginContext {
  readonly logger: Logger;
  /** The plugin's own settings, all texts: `config/plugins/accelerator/<key>/` of the store. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface SlotDescription {
  readonly slotName: string;
  readonly slotType: SlotType;
  /** For people, as `get_metadata` of the original. */
  readonly label?: {
    readonly description: string;
    readonly humanReadableName: string;
    readonly displayUnit: string;
    readonly numberFormat: { readonly binary: boolean; readonly roundLength: number };
    readonly displayIcon: string;
  };
}

export interface Device {
  /** Unique in the family; without `:`, `,` and `=`. */
  readonly deviceId: string;
  readonly slotName: string;
  /** How much of the slot this device is, an exact decimal text. */
  readonly amount: string;
  readonly modelName: string;
  /** For example a PCI address; empty where there is none. */
  readonly hardwareLocation: string;
  readonly memoryBytes: bigint;
  readonly processingUnits: number;
  readonly numaNode: number | null;
  /** The plugin's own facts. */
  readonly data?: Readonly<Record<string, string>>;
}

/** What one kernel has of one device family. */
export interface Granted {
  /** The devices given, in the order of allocation; empty for a kernel without any. */
  readonly devices: readonly { readonly device: Device; readonly amount: string }[];
  /** Every device of the family on this node. */
  readonly all: readonly Device[];
  /** Shared memory the kernel asked for. */
  readonly shmemBytes: bigint | null;
}

export interface DeviceMount {
  /** An absolute path of this machine, or the name of a volume. */
  readonly source: string;
  readonly target: string;
  readonly permission: 'ro' | 'rw';
}

export interface DevicePrivileges {
  /** Groups that may open the devices' files. */
  readonly gids?: readonly number[];
  /** Names of system calls that the seccomp profile must let through. */
  readonly syscalls?: readonly string[];
}

/** Part of a Docker container-create body's `HostConfig`, in Docker's own names. */
export type DockerArguments = Readonly<Record<string, unknown>>;

/** `data` as the manager knows it (spec/rpc-functions.md 3.7.1). */
export interface DeviceAttachment {
  readonly deviceId: string;
  readonly modelName: string;
  readonly data: { readonly cores?: number; readonly memBytes?: bigint; readonly smp?: number };
}

export interface HardwareInfo {
  readonly status: 'healthy' | 'degraded' | 'offline' | 'unavailable';
  readonly statusInfo: string | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Texts are exact decimals. */
export interface DeviceMeasure {
  /** Without dots and unique across plugins: `cuda_mem`. */
  readonly key: string;
  readonly unit: 'bytes' | 'percent' | 'msec' | 'celsius' | 'watts';
  readonly value: string;
  readonly capacity: string | null;
  readonly perDevice: Readonly<Record<string, { readonly value: string; readonly capacity: string | null }>>;
}
