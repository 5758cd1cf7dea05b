import { KeyError, PythonTypeError } from '../core/errors.js';

const MAX_ID_CHARS = 128;

/** The body of a FUNCTION as managers send it (spec/rpc-functions.md 1.1, 2.2). */
export interface RequestBody {
  readonly args: readonly unknown[];
  readonly kwargs: ReadonlyMap<string, unknown>;
  readonly metadata: RequestMetadata;
}

/** What 26.x callers say about a call. A part that is absent or malformed is null; it never fails the call. */
export interface RequestMetadata {
  readonly requestId: string | null;
  /** W3C trace context of the caller's span. */
  readonly traceparent: string | null;
}

/**
 * A nil body is a call without arguments.
 * @throws KeyError when `args` or `kwargs` is absent, PythonTypeError when they are no array and no map.
 */
export function readRequestBody(body: unknown): RequestBody {
  if (body === null) return { args: [], kwargs: new Map(), metadata: NO_METADATA };
  if (!isTextMap(body)) throw new PythonTypeError('the body of a call has to be a map with args and kwargs');
  for (const key of REQUIRED) if (!Object.hasOwn(body, key)) throw new KeyError(key);
  const { args, kwargs, metadata } = body;
  if (!Array.isArray(args)) throw new PythonTypeError('args of a call has to be an array');
  if (!isTextMap(kwargs)) throw new PythonTypeError('kwargs of a call has to be a map with text keys');
  return { args, kwargs: new Map(Object.entries(kwargs)), metadata: readMetadata(metadata) };
}

const REQUIRED = ['args', 'kwargs'] as const;

const NO_METADATA: RequestMetadata = { requestId: null, traceparent: null };

function readMetadata(metadata: unknown): RequestMetadata {
  if (!isTextMap(metadata)) return NO_METADATA;
  return { requestId: shortText(metadata['request_id']), traceparent: shortText(metadata['traceparent']) };
}

function shortText(value: unknown): string | null {
  return typeof value === 'string' ? value.slice(0, MAX_ID_CHARS) : null;
}

/** Is this a decoded map with text keys only? */
function isTextMap(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map)
    return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Values of the codec's own classes are objects too, but no maps.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
