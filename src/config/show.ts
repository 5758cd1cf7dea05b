import { ValueError } from '../core/errors.js';
import type { DaemonConfig } from './types.js';

const REDACTED = '***';

/** The effective configuration as text or JSON; secrets are always redacted. */
export function showConfig(
  config: DaemonConfig,
  options: { readonly agent?: string; readonly origin?: boolean; readonly json?: boolean } = {},
): string {
  const view =
    options.agent === undefined
      ? config.views[0]
      : config.views.find(({ agentId }) => agentId === options.agent);
  if (!view) {
    const known = config.views.map(({ agentId }) => agentId ?? '(generated)').join(', ');
    throw new ValueError(`no agent '${options.agent ?? ''}' in this configuration; agents: ${known}`);
  }
  const entries = view.entries.map(({ key, value, origin, secret }) => ({
    key,
    value: secret && value !== null ? REDACTED : value,
    origin,
  }));
  if (options.json === true)
    return JSON.stringify(
      Object.fromEntries(
        entries.map(({ key, value, origin }) => [key, options.origin === true ? { value, origin } : value]),
      ),
      null,
      2,
    );
  return entries
    .map(
      ({ key, value, origin }) =>
        `${key} = ${JSON.stringify(value)}${options.origin === true ? `   # ${origin}` : ''}`,
    )
    .join('\n');
}
