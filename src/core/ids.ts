import { ValueError } from './errors.js';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** Operator-chosen or generated name of one agent, for example `i-node01-gpu`. */
export type AgentId = Branded<'AgentId'>;
/** UUID of one kernel in canonical, lower-case, hyphenated form. */
export type KernelId = Branded<'KernelId'>;
/** UUID of the session a kernel belongs to, canonical form. */
export type SessionId = Branded<'SessionId'>;
/** The backend's own handle of a running kernel: a container id, or `process-<kernel id>`. */
export type ContainerId = Branded<'ContainerId'>;

const UUID_HEX = /^[0-9a-f]{32}$/;
/** No spelling of a UUID comes near this; what is longer is not even looked at. */
const MAX_UUID_CHARS = 200;

/**
 * Reads a UUID in any spelling Python's `uuid.UUID` takes: hyphens anywhere, braces, `urn:uuid:` prefix, any case
 * (spec/rpc-functions.md 0.1).
 * @throws ValueError in Python's words when the text is not a UUID.
 */
export function canonicalUuid(text: string): string {
  if (text.length > MAX_UUID_CHARS) throw new ValueError('badly formed hexadecimal UUID string');
  const hex = text
    .replace('urn:', '')
    .replace('uuid:', '')
    .replace(/^[{}]+|[{}]+$/g, '')
    .replaceAll('-', '')
    .toLowerCase();
  if (!UUID_HEX.test(hex)) throw new ValueError('badly formed hexadecimal UUID string');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** @throws ValueError when the text is not a UUID. */
export const parseKernelId = (text: string): KernelId => canonicalUuid(text) as KernelId;
/** @throws ValueError when the text is not a UUID. */
export const parseSessionId = (text: string): SessionId => canonicalUuid(text) as SessionId;

const AGENT_ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,126}$/;

/**
 * An agent id names a directory of the state, an etcd key and a log label, so its alphabet is limited.
 * @throws ValueError when the text cannot serve as one.
 */
export function parseAgentId(text: string): AgentId {
  if (!AGENT_ID.test(text) || text.includes('..'))
    throw new ValueError(`invalid agent id '${text.slice(0, 64)}': use letters, digits and . _ : @ -`);
  return text as AgentId;
}

export const asContainerId = (text: string): ContainerId => text as ContainerId;
