import { TextDecoder } from 'node:util';
import { parseJson, RESPONSE } from '../kernel-runner/messages.js';
import type { RunnerMessage } from '../kernel-runner/messages.js';
import type { MediaItem, Outcome } from './execution.js';

/** A piece of a run's console. */
export type OutputRecord =
  | { readonly kind: 'text'; readonly stream: 'stdout' | 'stderr'; readonly text: string }
  | { readonly kind: 'html' | 'log'; readonly text: string }
  | { readonly kind: 'media'; readonly media: MediaItem };

/** A piece of output, or something that ends a result. */
export type RunRecord = OutputRecord | { readonly kind: 'outcome'; readonly outcome: Outcome };

/** Characters of a record's content: what it costs to keep. */
export function sizeOf(record: RunRecord): number {
  switch (record.kind) {
    case 'outcome':
      return 0;
    case 'media':
      return record.media[0].length + record.media[1].length;
    default:
      return record.text.length;
  }
}

const TASK_RESULTS = {
  [RESPONSE.cleanFinished]: 'clean-finished',
  [RESPONSE.buildFinished]: 'build-finished',
  [RESPONSE.finished]: 'finished',
} as const;

/**
 * Turns the messages of one run into records. Text is decoded incrementally per stream, so a character may be split
 * over messages; what is not UTF-8 becomes U+FFFD, and an unfinished character at the end of a step is dropped
 * (spec/kernel-runner.md 3.2). It never throws: what the runner sends cannot harm the link.
 */
export class RecordReader {
  readonly #maxRecordBytes: number;
  #decoders = makeDecoders();

  constructor(maxRecordBytes: number) {
    this.#maxRecordBytes = maxRecordBytes;
  }

  /** Undefined for types that mean nothing to a run. */
  read({ type, payload }: RunnerMessage): RunRecord | undefined {
    switch (type) {
      case RESPONSE.stdout:
      case RESPONSE.stderr: {
        const bytes = payload.subarray(0, this.#maxRecordBytes);
        return { kind: 'text', stream: type, text: this.#decoders[type].decode(bytes, { stream: true }) };
      }
      case RESPONSE.html:
      case RESPONSE.log:
        return { kind: type, text: lossyText(payload) };
      case RESPONSE.media:
        return readMedia(payload);
      case RESPONSE.cleanFinished:
      case RESPONSE.buildFinished:
      case RESPONSE.finished:
        if (type !== RESPONSE.cleanFinished) this.#decoders = makeDecoders();
        return {
          kind: 'outcome',
          outcome: { status: TASK_RESULTS[type], exitCode: readExitCode(payload), options: null },
        };
      case RESPONSE.waitingInput: {
        const options = parseJson(payload);
        return {
          kind: 'outcome',
          outcome: { status: 'waiting-input', exitCode: null, options: isObject(options) ? options : {} },
        };
      }
      default:
        return undefined;
    }
  }
}

function makeDecoders(): Record<'stdout' | 'stderr', TextDecoder> {
  return {
    stdout: new TextDecoder('utf-8', { ignoreBOM: true }),
    stderr: new TextDecoder('utf-8', { ignoreBOM: true }),
  };
}

function lossyText(payload: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(payload);
}

/** The original runner sends HTML as `media` with the bare HTML for payload: that is what anything unreadable is. */
function readMedia(payload: Uint8Array): RunRecord {
  const value = parseJson(payload);
  if (isObject(value) && typeof value['type'] === 'string' && typeof value['data'] === 'string')
    return { kind: 'media', media: [value['type'], value['data']] };
  return { kind: 'html', text: lossyText(payload) };
}

function readExitCode(payload: Uint8Array): number | null {
  const value = parseJson(payload);
  const exitCode = isObject(value) ? value['exitCode'] : undefined;
  return typeof exitCode === 'number' && Number.isInteger(exitCode) ? exitCode : null;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
