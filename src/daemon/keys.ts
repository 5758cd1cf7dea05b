import {
  type AcceptedKeys,
  AcceptedKeysDirectory,
  CurveRehearsal,
  type CurveServerCredentials,
  generateKeyPair,
  readPublicKeyFile,
  readSecretKeyFile,
  writeKeyFiles,
} from '../callosum/index.js';
import type { DaemonConfig } from '../config/index.js';
import { hasCode } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

/** The CURVE side of a daemon that has keys: its own pair and everybody whom it lets in. */
export interface DaemonKeys {
  readonly publicKey: string;
  readonly credentials: CurveServerCredentials & { readonly rehearsal: CurveRehearsal };
  /** Stops watching the directory of accepted keys. */
  close(): void;
}

/**
 * Reads the node's key pair and collects the accepted keys: the manager's file, the directory of further managers,
 * and the local operator. Null when the configuration names no key pair: the node then serves plain text.
 * @throws KeyFileError, KeyFileModeError naming the file.
 */
export async function loadDaemonKeys(
  rpc: DaemonConfig['rpc'],
  operatorPublicKey: string,
  logger: Logger,
): Promise<DaemonKeys | null> {
  if (rpc.agentKeypairFile === null) return null;
  const pair = await readSecretKeyFile(rpc.agentKeypairFile);
  const fixed = new Set([operatorPublicKey]);
  if (rpc.managerPublicKeyFile !== null) fixed.add(await readPublicKeyFile(rpc.managerPublicKeyFile));
  const directory =
    rpc.acceptedManagerKeysDir === null
      ? null
      : await AcceptedKeysDirectory.open({ directory: rpc.acceptedManagerKeysDir, logger });
  const acceptedKeys: AcceptedKeys = {
    has: (key) => fixed.has(key) || directory?.has(key) === true,
  };
  return {
    publicKey: pair.publicKey,
    credentials: { secretKey: pair.secretKey, acceptedKeys, rehearsal: new CurveRehearsal() },
    close: () => directory?.close(),
  };
}

/** The public key of the local operator, whose pair is made at the first start. */
export async function operatorPublicKey(directory: string, secretFile: string): Promise<string> {
  try {
    return (await readSecretKeyFile(secretFile)).publicKey;
  } catch (error) {
    if (!hasCode((error as { readonly cause?: unknown }).cause, 'ENOENT')) throw error;
  }
  const pair = generateKeyPair();
  await writeKeyFiles(directory, 'operator', pair);
  return pair.publicKey;
}
