import { endianness } from 'node:os';

/** What a kernel may ask its agent (spec/kernel-lifecycle.md 5.11). */
export type AgentQuestion =
  | {
      readonly action: 'host-pid-to-container-pid' | 'container-pid-to-host-pid';
      readonly containerId: string;
      readonly pid: number;
    }
  | { readonly action: 'is-jail-enabled' };

/** First part of every answer. */
const STATUS = { ok: 0, error: -1, unknownAction: -2 } as const;
const INT_BYTES = 4;
const CONTAINER_ID = /^[0-9a-f]{12,64}$/;
const isLittle = endianness() === 'LE';

/** The parts of a request, or the parts of the answer that refuses it. Pure. */
export function parseQuestion(
  parts: readonly Uint8Array[],
): { readonly question: AgentQuestion } | { readonly refusal: readonly Uint8Array[] } {
  const [action, ...args] = parts;
  const name = action === undefined ? '' : Buffer.from(action).toString('utf8').slice(0, 64);
  switch (name) {
    case 'is-jail-enabled':
      return args.length === 0
        ? { question: { action: name } }
        : { refusal: errorAnswer(`${name} takes no argument`) };
    case 'host-pid-to-container-pid':
    case 'container-pid-to-host-pid': {
      const [id, pid] = args;
      if (args.length !== 2 || id === undefined || pid?.length !== INT_BYTES)
        return { refusal: errorAnswer(`${name} takes a container id and a 32-bit integer`) };
      const containerId = Buffer.from(id).toString('latin1');
      if (!CONTAINER_ID.test(containerId))
        return { refusal: errorAnswer(`${name}: that is no container id`) };
      return { question: { action: name, containerId, pid: readInt(pid) } };
    }
    default:
      return { refusal: [intPart(STATUS.unknownAction), Buffer.from('unknown action')] };
  }
}

export const valueAnswer = (value: number): readonly Uint8Array[] => [intPart(STATUS.ok), intPart(value)];

export const errorAnswer = (text: string): readonly Uint8Array[] => [
  intPart(STATUS.error),
  Buffer.from(text),
];

/** 32 bits in this machine's byte order: both sides are programs of one machine. */
export function intPart(value: number): Uint8Array {
  const part = Buffer.alloc(INT_BYTES);
  if (isLittle) part.writeInt32LE(value);
  else part.writeInt32BE(value);
  return part;
}

export function readInt(part: Uint8Array): number {
  const buffer = Buffer.from(part);
  return isLittle ? buffer.readInt32LE() : buffer.readInt32BE();
}
