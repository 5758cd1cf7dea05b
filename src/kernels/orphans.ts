/** A manager looks after its kernels far more often; one that it left out for longer is none of its own any more. */
const THRESHOLD_SEC = 600;

/**
 * Pure: the kernels that the manager does not know any more (spec/events-and-stores.md 5.8). It looked after the agent
 * at `agentLastCheckSec`, and after each kernel at the time given; whatever is missing means that nothing is known, so
 * nothing is done. Exactly at the threshold a kernel stays.
 */
export function findOrphans<Id extends string>(
  kernelIds: readonly Id[],
  agentLastCheckSec: number | null,
  lastChecksSec: ReadonlyMap<string, number>,
): readonly Id[] {
  if (agentLastCheckSec === null) return [];
  return kernelIds.filter((kernelId) => {
    const checkedSec = lastChecksSec.get(kernelId);
    return checkedSec !== undefined && checkedSec < agentLastCheckSec - THRESHOLD_SEC;
  });
}
