import { SpleniumError, type SpleniumErrorOptions } from '../core/errors.js';
import { type Decimal, pythonText } from './quantity/decimal.js';

/** A request for resources that cannot be met; the manager knows the names (spec/config-and-resources.md 5.5). */
export class ResourceError extends SpleniumError {
  override readonly code: string = 'RESOURCE';
  override readonly pythonName: string = 'ResourceError';
}

/** A slot that no device of this agent provides, or one that must be asked for and was not. */
export class UnsupportedResource extends ResourceError {
  override readonly code = 'RESOURCE_UNSUPPORTED';
  override readonly pythonName = 'UnsupportedResource';
}

/** Two slots that exclude each other in one kernel. */
export class InvalidResourceCombination extends ResourceError {
  override readonly code = 'RESOURCE_COMBINATION_INVALID';
  override readonly pythonName = 'InvalidResourceCombination';
}

/** An amount that cannot be given, whatever is free. */
export class InvalidResourceArgument extends ResourceError {
  override readonly code: string = 'RESOURCE_ARGUMENT_INVALID';
  override readonly pythonName: string = 'InvalidResourceArgument';
}

/** Rounding down to the device's quantum leaves nothing. */
export class NotMultipleOfQuantum extends InvalidResourceArgument {
  override readonly code = 'RESOURCE_NOT_MULTIPLE_OF_QUANTUM';
  override readonly pythonName = 'NotMultipleOfQuantum';

  constructor(slotName: string, requested: Decimal) {
    super(
      `Requested resource amount for ${slotName} is ${pythonText(requested)} but actual calculated amount is zero. ` +
        "This can happen if user requests resource amount smaller than target device's quantum size.",
      { details: { slotName, requested: pythonText(requested) } },
    );
  }
}

export interface ShortfallFacts {
  readonly slotName: string;
  readonly requested: Decimal;
  /** What could be had. */
  readonly allocatable: Decimal;
  readonly contextTag?: string | undefined;
}

/** Less is free on this agent than is asked for. The message tells both amounts. */
export class InsufficientResource extends ResourceError {
  override readonly code = 'RESOURCE_INSUFFICIENT';
  override readonly pythonName = 'InsufficientResource';

  constructor(message: string, facts: ShortfallFacts) {
    const { slotName, requested, allocatable, contextTag } = facts;
    const tag = contextTag === undefined ? ', ' : ` (tag: '${contextTag}'), `;
    super(
      `InsufficientResource: ${message} (${slotName}${tag}allocating ${pythonText(requested)} out of ` +
        `${pythonText(allocatable)})`,
      {
        retryable: true,
        details: { slotName, requested: pythonText(requested), free: pythonText(allocatable) },
      },
    );
  }
}

/** The request would be spread over more devices than needed, and the caller refuses that. */
export class FractionalResourceFragmented extends ResourceError {
  override readonly code = 'RESOURCE_FRAGMENTED';
  override readonly pythonName = 'FractionalResourceFragmented';

  constructor(
    message: string,
    facts: {
      readonly slotName: string;
      readonly requested: Decimal;
      readonly deviceIds: readonly string[];
      readonly contextTag?: string | undefined;
    },
  ) {
    const { slotName, requested, deviceIds, contextTag } = facts;
    const tag = contextTag === undefined ? ', ' : ` (tag: '${contextTag}'), `;
    super(
      `FractionalResourceFragmented: ${message} (${slotName}${tag}allocating ${pythonText(requested)} from ` +
        `[${deviceIds.join(', ')}])`,
      { retryable: true, details: { slotName, requested: pythonText(requested), deviceIds } },
    );
  }
}

/** The kernel holds an allocation already, or another kernel holds what is to be restored. */
export class AllocationConflict extends ResourceError {
  override readonly code = 'RESOURCE_CONFLICT';
}

/** The machine and the configuration do not fit: the daemon cannot start so. */
export class InvalidResourceConfig extends SpleniumError {
  override readonly code: string = 'RESOURCE_CONFIG_INVALID';
  override readonly pythonName: string = 'InvalidResourceConfigError';
}

/** More is reserved or given to agents by the configuration than the machine has. */
export class ResourceOverAllocated extends InvalidResourceConfig {
  override readonly code = 'RESOURCE_OVER_ALLOCATED';
  override readonly pythonName = 'ResourceOverAllocatedError';
}

/** A device plugin breaks the rules of its contract. */
export class DevicePluginError extends SpleniumError {
  override readonly code = 'DEVICE_PLUGIN_INVALID';
  override readonly pythonName = 'ConfigurationError';
}

/** An affinity hint for a device family that the node does not have. */
export class NoSuitableDevices extends SpleniumError {
  override readonly code = 'RESOURCE_NO_SUITABLE_DEVICES';
  override readonly pythonName = 'ConfigurationError';

  constructor(deviceName: string, found: readonly string[], options: SpleniumErrorOptions = {}) {
    super(`No suitable devices found (searched: ${deviceName}, found: ${found.join(', ')})`, options);
  }
}
