import { InvalidResourceCombination } from '../errors.js';

/**
 * Do two slots exclude each other? Both must be in the set, literally or by a pattern with `*`, `?` and `[…]`;
 * a slot never excludes itself (spec/config-and-resources.md 5.1).
 */
export function exclude(exclusive: ReadonlySet<string>, a: string, b: string): boolean {
  return a !== b && isIn(exclusive, a) && isIn(exclusive, b);
}

/** @throws InvalidResourceCombination naming the first pair that cannot go together. */
export function refuseExclusivePairs(exclusive: ReadonlySet<string>, slots: readonly string[]): void {
  for (const [index, a] of slots.entries())
    for (const b of slots.slice(index + 1))
      if (exclude(exclusive, a, b))
        throw new InvalidResourceCombination(`Slots ${a} and ${b} cannot be allocated at the same time.`, {
          details: { slots: [a, b] },
        });
}

const isIn = (exclusive: ReadonlySet<string>, slot: string): boolean =>
  exclusive.has(slot) || [...exclusive].some((pattern) => globPattern(pattern).test(slot));

function globPattern(glob: string): RegExp {
  const source = glob.replace(/\[!?[^\]]+\]|[\s\S]/g, (token) => {
    if (token === '*') return '.*';
    if (token === '?') return '.';
    if (token.length > 1) return token.replace('[!', '[^').replaceAll('\\', '\\\\');
    return token.replace(/[.*+?^${}()|[\]\\]/, '\\$&');
  });
  return new RegExp(`^${source}$`, 's');
}
