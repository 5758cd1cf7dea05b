/**
 * Callosum: remote procedure calls over ZeroMQ, compatible with the Python package of the same name. A library of
 * its own: it knows neither agents nor kernels, and its payloads are opaque bytes.
 */
export { Peer } from './peer.js';
export { DEFAULT_LIMITS } from './peer-options.js';
export type {
  BindOptions,
  CallHandler,
  CloseOptions,
  ConnectOptions,
  ErrorDescriber,
  IncomingCall,
  InvokeOptions,
  OrderKey,
  PeerLimits,
  Serializer,
} from './peer-options.js';
export type { Deadlines } from './deadlines.js';
export type { SchedulerName } from './scheduler.js';
export {
  HandshakeError,
  KeyFileError,
  KeyFileModeError,
  PeerClosedError,
  RemoteInternalError,
  RemoteUserError,
  UnknownMethodError,
} from './errors.js';
export type { ErrorDescription } from './errors.js';
export { createErrorDescriber } from './failure.js';
export type { AcceptedKeys, CurveClientCredentials, CurveServerCredentials } from './transport/curve.js';
export {
  derivePublicKey,
  generateKeyPair,
  isCurveKey,
  isKeyPair,
  z85Decode,
  z85Encode,
} from './transport/keys.js';
export type { KeyPair } from './transport/keys.js';
export { readPublicKeyFile, readSecretKeyFile, writeKeyFiles } from './transport/certificates.js';
export type { KeyFiles } from './transport/certificates.js';
