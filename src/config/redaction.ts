import { isTable } from './formats.js';
import type { ConfigEntry } from './types.js';

const REDACTED = '***';
const SECRET_NAME = /passw|secret|token|credential|private|api.?key/i;

/** The value of an entry as it may be shown: secrets are replaced, also inside tables and lists. */
export function redacted({ value, secret }: ConfigEntry): unknown {
  return secret && value !== null ? REDACTED : withoutSecrets(value);
}

function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (!isTable(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [
      name,
      SECRET_NAME.test(name) && part !== null ? REDACTED : withoutSecrets(part),
    ]),
  );
}
