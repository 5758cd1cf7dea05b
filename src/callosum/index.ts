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
  CurveNotEnforcedError,
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
export { AcceptedKeysDirectory } from './transport/accepted-keys.js';
export type { AcceptedKeysDirectoryOptions } from './transport/accepted-keys.js';
export { CurveRehearsal } from './transport/curve-rehearsal.js';
export { verifyCurveRefusesStrangers } from './transport/curve-self-test.js';
export type { SelfTestOptions } from './transport/curve-self-test.js';
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
export { Distributor, Publisher } from './pubsub/sender.js';
export type { PublishingOptions } from './pubsub/sender.js';
export { Consumer, Subscriber } from './pubsub/receiver.js';
export type { ConsumingOptions, MessageHandler, PublishedMessage } from './pubsub/receiver.js';
