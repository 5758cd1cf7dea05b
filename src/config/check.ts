import type { EffectiveValues } from './effective.js';
import type { HostFacts } from './host-facts.js';
import type { ConfigProblem, ConfigWarning } from './problems.js';
import type { KeyPath } from './schema/index.js';
import type { RawValues } from './sections.js';

export interface CheckContext {
  readonly file: string;
  readonly shared: EffectiveValues;
  /** One an agent; in single-agent mode the shared values alone. */
  readonly agents: readonly EffectiveValues[];
  /** What each `[[agents]]` entry itself writes; null in single-agent mode. */
  readonly own: readonly RawValues[] | null;
  readonly host: HostFacts;
}

/** One rule across keys. It is skipped when a key that it needs did not parse: that has been complained about. */
export interface Check {
  readonly needs: readonly KeyPath[];
  readonly severity?: 'warning';
  run(context: CheckContext): Iterable<ConfigProblem>;
}

export function runChecks(
  checks: readonly Check[],
  context: CheckContext,
): { readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigWarning[] } {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigWarning[] = [];
  for (const check of checks) {
    const { needs, severity } = check;
    if (![context.shared, ...context.agents].every((values) => needs.every((path) => values.has(path))))
      continue;
    (severity === 'warning' ? warnings : problems).push(...check.run(context));
  }
  return { problems: distinct(problems), warnings: distinct(warnings) };
}

/** A rule that holds for every agent complains once about a value that all of them inherit. */
function distinct(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>();
  return problems.filter(({ key, message, origin }) => {
    const name = `${key}\0${message}\0${origin}`;
    if (seen.has(name)) return false;
    seen.add(name);
    return true;
  });
}
