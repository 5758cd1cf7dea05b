import { decodeMessage } from '../../src/callosum/wire/message.js';
import { readVectors } from '../support/vectors.js';

/** How many inputs each test makes; `scripts/fuzz` sets it. */
export const INPUTS = Number(process.env['SPLENIUM_FUZZ_INPUTS'] ?? '100000');
/** Fixed, so that a failure repeats; `scripts/fuzz` may set another one. */
export const SEED = Number(process.env['SPLENIUM_FUZZ_SEED'] ?? '1');

export type Frames = readonly Buffer[];

const UPPER = Buffer.from('UPPER');
const MESSAGE_FILES = [
  'callosum-messages.json',
  'zeromq-frames.json',
  'rpc-requests.json',
  'create_kernels-request.json',
];
const PAYLOAD_FILES = ['msgpack-ext.json', 'msgpack-core.json', 'pickle-restricted.json'];
const HEX = /^(?:[0-9a-f]{2})*$/;

/** Every message of the vectors as the frames a client sends: good ones, and ones that end a Python server. */
export function goldenFrames(): readonly Frames[] {
  const found: Frames[] = [];
  for (const file of MESSAGE_FILES)
    walk(readVectors<unknown>(file), (value) => {
      const frames = framesOf(value);
      if (frames) found.push(frames);
    });
  return found;
}

function framesOf(value: unknown): Frames | undefined {
  if (Array.isArray(value)) {
    if (value.length < 2 || !value.every((item) => typeof item === 'string' && HEX.test(item)))
      return undefined;
    return value.map((item) => Buffer.from(String(item), 'hex'));
  }
  if (typeof value !== 'object' || value === null || !('header_hex' in value) || !('body_hex' in value))
    return undefined;
  return [UPPER, Buffer.from(String(value.header_hex), 'hex'), Buffer.from(String(value.body_hex), 'hex')];
}

/** Every payload of the vectors: whole requests and results, and single values. */
export function goldenPayloads(): readonly Buffer[] {
  const found: Buffer[] = [];
  for (const frames of goldenFrames()) {
    const [, header = Buffer.alloc(0), body = Buffer.alloc(0)] = frames.slice(-3);
    const decoded = decodeMessage(header, body, { maxBodyBytes: 1 << 20 });
    if (decoded.ok && 'payload' in decoded.message) found.push(Buffer.from(decoded.message.payload));
  }
  for (const file of PAYLOAD_FILES)
    walk(readVectors<unknown>(file), (value, key) => {
      if (key === 'msgpack_hex' || key === 'hex') found.push(Buffer.from(String(value), 'hex'));
    });
  return found;
}

/** Every pickle of the vectors, those to accept and those to refuse. */
export function goldenPickles(): readonly Buffer[] {
  const found: Buffer[] = [];
  for (const file of ['pickle-restricted.json', 'msgpack-ext.json'])
    walk(readVectors<unknown>(file), (value, key) => {
      if (key === 'payload_hex') found.push(Buffer.from(String(value), 'hex'));
    });
  return found;
}

function walk(value: unknown, visit: (value: unknown, key: string) => void, key = ''): void {
  visit(value, key);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, item] of Object.entries(value)) walk(item, visit, Array.isArray(value) ? key : name);
}
