import { LimitExceededError } from '../../core/errors.js';

/** No record of an engine comes near this. */
const LINE_MAX_CHARS = 1024 * 1024;

/**
 * The JSON values of a stream that holds one a line.
 * @throws SyntaxError for a line that is no JSON, LimitExceededError for an endless one, and the stream's own error.
 */
export async function* jsonLines(stream: AsyncIterable<unknown>): AsyncGenerator {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk as Uint8Array, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_MAX_CHARS)
      throw new LimitExceededError('the engine sends a record that does not end');
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as unknown;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as unknown;
}
