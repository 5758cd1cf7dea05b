import { z } from 'zod';
import { hasCode, isSpleniumError, messageOf } from '../../core/errors.js';
import { DockerUnavailableError, EngineError } from './errors.js';

const UNREACHABLE = ['ECONNREFUSED', 'ENOENT', 'EACCES', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'ETIMEDOUT'];

/** HTTP status of an answer that was no success. */
export function statusOf(error: unknown): number | null {
  if (isSpleniumError(error, 'BACKEND_ENGINE_FAILED'))
    return z.number().catch(0).parse(error.details['status']) || null;
  const parsed = z.object({ statusCode: z.number() }).safeParse(error);
  return parsed.success ? parsed.data.statusCode : null;
}

/** One of ours from whatever a call to the engine has failed with. */
export function engineFailure(what: string, error: unknown): Error {
  if (isSpleniumError(error)) return error;
  const cause = { cause: error };
  if (UNREACHABLE.some((code) => hasCode(error, code)))
    return new DockerUnavailableError(
      `${what}: the container engine cannot be reached (${messageOf(error)}): is it running, and may this user use its socket?`,
      { ...cause, retryable: true },
    );
  const status = statusOf(error);
  return new EngineError(`${what}: ${messageOf(error).trim()}`, {
    ...cause,
    retryable: status === null || status >= 500,
    details: { status },
  });
}
