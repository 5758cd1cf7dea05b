import { messageOf } from '../../core/errors.js';
import { InvalidResourceArgument, UnsupportedResource } from '../errors.js';
import { Decimal, positionalText, ZERO } from './decimal.js';
import { ResourceSlot, type SlotTypes } from './resource-slot.js';
import { INTRINSIC_SLOTS } from './slot-name.js';

export interface SlotRequest {
  readonly slots: Readonly<Record<string, string>>;
  readonly shmemBytes: bigint | null;
}

/**
 * Admits what a kernel asks for (spec/config-and-resources.md 4.5): `cpu` and `mem` are there and enough for a kernel
 * to run, every other slot is known or zero, amounts are finite and not negative. The result has every known slot.
 * @throws InvalidResourceArgument, UnsupportedResource
 */
export function admitRequest({ slots, shmemBytes }: SlotRequest, types: SlotTypes): ResourceSlot {
  const request = parse(slots);
  for (const [slot, amount] of request.entries()) {
    if (!amount.isFinite() || (amount.isNegative() && !amount.isZero()))
      throw invalid(slot, amount, 'must be a number, zero or more');
    const type = types.get(slot);
    if (type === undefined && !amount.isZero())
      throw new UnsupportedResource(
        `no device of this agent provides the slot '${slot}' (it has: ${[...types.keys()].join(', ')})`,
        { details: { slotName: slot, requested: positionalText(amount) } },
      );
    if (type === 'bytes' && !amount.isInteger()) throw invalid(slot, amount, 'must be whole bytes');
  }
  for (const slot of INTRINSIC_SLOTS) {
    if (!request.has(slot))
      throw new UnsupportedResource(`the request lacks the slot '${slot}': every kernel needs cpu and mem`, {
        details: { slotName: slot },
      });
    if (!request.get(slot).greaterThan(ZERO))
      throw invalid(slot, request.get(slot), 'must be more than zero: a kernel cannot run without');
  }
  if (request.get('cpu').lessThan(1) && types.get('cpu') === 'count')
    throw invalid('cpu', request.get('cpu'), 'yields no core: ask for at least 1');
  refuseOversizedShmem(request.get('mem'), shmemBytes);
  return request.normalized(types, { ignoreUnknown: true });
}

function parse(slots: Readonly<Record<string, string>>): ResourceSlot {
  try {
    return ResourceSlot.fromJson(slots);
  } catch (error) {
    throw new InvalidResourceArgument(`resource slots: ${messageOf(error)}`, { cause: error });
  }
}

/** Shared memory is taken out of the kernel's memory; something must remain for the rest. */
function refuseOversizedShmem(memory: Decimal, shmemBytes: bigint | null): void {
  if (shmemBytes === null) return;
  if (shmemBytes < 0n || new Decimal(String(shmemBytes)).greaterThanOrEqualTo(memory))
    throw new InvalidResourceArgument(
      `shared memory of ${String(shmemBytes)} bytes does not fit into ${positionalText(memory)} bytes of memory`,
      { details: { shmemBytes: String(shmemBytes), memoryBytes: positionalText(memory) } },
    );
}

const invalid = (slot: string, amount: Decimal, why: string): InvalidResourceArgument =>
  new InvalidResourceArgument(`slot '${slot}': ${positionalText(amount)} ${why}`, {
    details: { slotName: slot, requested: positionalText(amount) },
  });
