import { Packr } from 'msgpackr';

/**
 * The words that agent and kernel runner exchange (spec/kernel-runner.md 2): every message is two frames, a type in
 * ASCII and a payload. Both sides import this file; it knows no sockets.
 */

/** agent -> runner */
export const REQUEST = {
  clean: 'clean',
  build: 'build',
  exec: 'exec',
  code: 'code',
  input: 'input',
  complete: 'complete',
  interrupt: 'interrupt',
  status: 'status',
  event: 'event',
  startService: 'start-service',
  startModelService: 'start-model-service',
  shutdownService: 'shutdown-service',
  getApps: 'get-apps',
} as const;
export type RequestType = (typeof REQUEST)[keyof typeof REQUEST];

/** runner -> agent */
export const RESPONSE = {
  stdout: 'stdout',
  stderr: 'stderr',
  media: 'media',
  html: 'html',
  log: 'log',
  cleanFinished: 'clean-finished',
  buildFinished: 'build-finished',
  finished: 'finished',
  waitingInput: 'waiting-input',
  status: 'status',
  completion: 'completion',
  serviceResult: 'service-result',
  modelServiceResult: 'model-service-result',
  modelServiceStatus: 'model-service-status',
  appsResult: 'apps-result',
} as const;
export type ResponseType = (typeof RESPONSE)[keyof typeof RESPONSE];

/** One message as it travels: a type and its payload. */
export interface RunnerMessage {
  readonly type: string;
  readonly payload: Uint8Array;
}

export const NO_PAYLOAD: Uint8Array = new Uint8Array(0);

const encoder = new TextEncoder();

export const textPayload = (text: string): Uint8Array => encoder.encode(text);
export const jsonPayload = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** Payload of a `status` reply, the only one in MessagePack. */
export interface StatusPayload {
  /** Seconds on the runner's monotonic clock when it was started; not wall-clock time. */
  readonly started_at: number;
  /**
   * Tasks (`clean`, `build`, `exec`, `code`) accepted but not finished when this reply was queued. Only our runner
   * sends it. Replies and results share one ordered channel, so an agent that connects to a working runner learns
   * from it how many `*-finished` messages to come belong to somebody else.
   */
  readonly pending?: readonly string[];
  /**
   * Exit code of the `exec` task that finished last, if any did. Its `finished` message may have been on its way to an
   * agent that stopped just then; a batch job must not lose its result to that.
   */
  readonly last_exec?: number;
}

export const statusPayload = (status: StatusPayload): Uint8Array =>
  new Packr({ useRecords: false, variableMapSize: true }).pack(status);

const ASCII = /^[\x21-\x7e]{1,64}$/;

/** Reads the two frames. Anything else than exactly two, or a type that is not printable ASCII, is `undefined`. */
export function parseFrames(frames: readonly Uint8Array[]): RunnerMessage | undefined {
  const [head, payload] = frames;
  if (frames.length !== 2 || head === undefined || payload === undefined) return undefined;
  if (head.length > 64) return undefined;
  const type = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  return ASCII.test(type) ? { type, payload } : undefined;
}

/** Strict UTF-8; `undefined` for anything else. */
export function parseText(payload: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    return undefined;
  }
}

/** Strict UTF-8 and JSON; `undefined` for anything else, so check the shape of what comes back. */
export function parseJson(payload: Uint8Array): unknown {
  const text = parseText(payload);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
