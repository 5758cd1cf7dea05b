import { redacted } from './redaction.js';
import { SCHEMA_KEYS } from './schema/index.js';
import type { ConfigEntry, ConfigView, DaemonConfig } from './types.js';

/** One key that differs between two configurations; secrets are redacted. */
export interface ConfigChange {
  /** Null: of the whole daemon, or of the one agent without an id. */
  readonly agentId: string | null;
  /** Dotted key; `agents` for an agent that came or went. */
  readonly key: string;
  readonly before: unknown;
  readonly after: unknown;
  readonly beforeOrigin: string;
  readonly afterOrigin: string;
}

/** What changed from one loaded configuration to another, in the order of the schema. */
export function diffConfig(before: DaemonConfig, after: DaemonConfig): readonly ConfigChange[] {
  const [firstBefore, firstAfter] = [before.views[0], after.views[0]];
  if (!firstBefore || !firstAfter) return [];
  const changes = changesOf(null, firstBefore, firstAfter, false);
  const ids = new Set([...before.views, ...after.views].map(({ agentId }) => agentId));
  for (const id of ids) {
    const old = before.views.find(({ agentId }) => agentId === id);
    const now = after.views.find(({ agentId }) => agentId === id);
    if (old && now) changes.push(...changesOf(id, old, now, true));
    else
      changes.push({
        agentId: id,
        key: 'agents',
        before: old ? 'configured' : null,
        after: now ? 'configured' : null,
        beforeOrigin: before.file ?? '',
        afterOrigin: after.file ?? '',
      });
  }
  return changes;
}

const PER_AGENT = new Set(SCHEMA_KEYS.filter(({ perAgent }) => perAgent === true).map(({ path }) => path));

const isPerAgent = (key: string): boolean => PER_AGENT.has(key) || key.startsWith('resource.allocations.');

function changesOf(
  agentId: string | null,
  before: ConfigView,
  after: ConfigView,
  perAgent: boolean,
): ConfigChange[] {
  const old = new Map(before.entries.map((entry) => [entry.key, entry]));
  const now = new Map(after.entries.map((entry) => [entry.key, entry]));
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((key) => isPerAgent(key) === perAgent)
    .flatMap((key) => {
      const [was, is] = [old.get(key), now.get(key)];
      if (text(was) === text(is)) return [];
      return [
        {
          agentId,
          key,
          before: was ? redacted(was) : null,
          after: is ? redacted(is) : null,
          beforeOrigin: was?.origin ?? 'absent',
          afterOrigin: is?.origin ?? 'absent',
        },
      ];
    });
}

const text = (entry: ConfigEntry | undefined): string =>
  JSON.stringify(entry?.value ?? null, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
