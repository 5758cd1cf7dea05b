import { ValueError } from '../../core/errors.js';
import type { CurveRehearsal } from './curve-rehearsal.js';
import { isCurveKey } from './keys.js';

/** Who may speak; a `Set` of keys is one. Asked at every handshake, so it may change while the peer runs. */
export interface AcceptedKeys {
  has(publicKeyZ85: string): boolean;
}

/** CURVE keys of a bound peer. All keys are Z85 text, 40 characters (spec/wire-protocol.md 1.6). */
export interface CurveServerCredentials {
  readonly secretKey: string;
  /** Decides about new connections; libzmq cannot end one that exists when its key is withdrawn. */
  readonly acceptedKeys: AcceptedKeys;
  /** For a peer that will be tested by `verifyCurveRefusesStrangers` with the same one. */
  readonly rehearsal?: CurveRehearsal | undefined;
}

/** CURVE keys of a connecting peer. */
export interface CurveClientCredentials {
  readonly serverPublicKey: string;
  readonly publicKey: string;
  readonly secretKey: string;
}

/** The ZAP domain of Backend.AI; it never travels, only the server's own handler sees it. */
export const ZAP_DOMAIN = 'local';

/**
 * Looks at the keys before a socket does, whose own complaint is only "invalid argument".
 * @throws ValueError naming the key that is none, without showing it.
 */
export function checkKeys(keys: Readonly<Record<string, string>>): void {
  for (const [name, key] of Object.entries(keys))
    if (!isCurveKey(key)) throw new ValueError(`${name} is not 40 characters of Z85`);
}
