import type { z } from 'zod';
import { KeyError, PythonTypeError, ValueError } from '../../core/errors.js';

const MAX_ISSUE_CHARS = 500;

/**
 * Parses one wire value. A missing key is a `KeyError` with the bare key, as in the original; another type is a
 * `TypeError`, any other disagreement a `ValueError`; both name the place inside the argument. What a schema throws
 * itself passes through.
 */
export function parseWire<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  place: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const issue = deepest(parsed.error.issues[0]);
  const key = issue.path.at(-1);
  if (issue.input === undefined && key !== undefined) throw new KeyError(String(key));
  const message = `${place}${pathText(issue.path)}: ${issue.message}`.slice(0, MAX_ISSUE_CHARS);
  throw issue.code === 'invalid_type' || issue.code === 'invalid_union'
    ? new PythonTypeError(message)
    : new ValueError(message);
}

interface Issue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly input?: unknown;
}

/** A union reports each branch; the one that got furthest into the value says what is wrong. */
function deepest(issue: z.core.$ZodIssue | undefined): Issue {
  if (!issue) return { code: 'custom', path: [], message: 'not understood', input: null };
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors
    .map(([first]) => first)
    .filter((branch) => branch !== undefined && branch.path.length > 0)
    .map((branch) => deepest(branch));
  const [furthest] = inner.sort((a, b) => b.path.length - a.path.length);
  return furthest ? { ...furthest, path: [...issue.path, ...furthest.path] } : issue;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((key) => (typeof key === 'number' ? `[${String(key)}]` : `.${String(key)}`)).join('');
}
