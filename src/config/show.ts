import { ValueError } from '../core/errors.js';
import { redacted } from './redaction.js';
import { tomlValue } from './toml-value.js';
import type { DaemonConfig } from './types.js';

export interface ShowOptions {
  /** Absent: the default agent. */
  readonly agent?: string;
  /** With `file:line`, variable or `default` beside each value. */
  readonly origin?: boolean;
  readonly json?: boolean;
  /** Leave out keys that this program does not act on. */
  readonly usedOnly?: boolean;
}

/**
 * The effective configuration of one agent as text or JSON, one dotted key a line; secrets are always redacted.
 * @throws ValueError for an agent that is not configured.
 */
export function showConfig(config: DaemonConfig, options: ShowOptions = {}): string {
  const view =
    options.agent === undefined
      ? config.views[0]
      : config.views.find(({ agentId }) => agentId === options.agent);
  if (!view) {
    const known = config.views.map(({ agentId }) => agentId ?? '(generated)').join(', ');
    throw new ValueError(`no agent '${options.agent ?? ''}' in this configuration; agents: ${known}`);
  }
  const entries = view.entries
    .filter(({ unused }) => options.usedOnly !== true || !unused)
    .map((entry) => ({ key: entry.key, value: redacted(entry), origin: entry.origin }));
  if (options.json === true)
    return JSON.stringify(
      Object.fromEntries(
        entries.map(({ key, value, origin }) => [key, options.origin === true ? { value, origin } : value]),
      ),
      (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
      2,
    );
  return entries
    .map(
      ({ key, value, origin }) =>
        `${key} = ${tomlValue(value)}${options.origin === true ? `   # ${origin}` : ''}`,
    )
    .join('\n');
}
