/** The public names of the package, one by one. */
export {
  createErrorDescriber,
  generateKeyPair,
  Peer,
  readPublicKeyFile,
  readSecretKeyFile,
} from './callosum/index.js';
export {
  HandshakeError,
  PeerClosedError,
  RemoteInternalError,
  RemoteUserError,
  UnknownMethodError,
} from './callosum/index.js';
export type {
  AcceptedKeys,
  BindOptions,
  CallHandler,
  ConnectOptions,
  CurveClientCredentials,
  CurveServerCredentials,
  IncomingCall,
  InvokeOptions,
  KeyPair,
  PeerLimits,
  Serializer,
} from './callosum/index.js';
export { AgentClient, defaultTimeoutMs } from './client/agent-client.js';
export type {
  AgentClientOptions,
  ArgumentsFor,
  CallOptions,
  CreatedKernel,
  ResultOf,
} from './client/agent-client.js';
export { ConnectionPool } from './client/connection-pool.js';
export type { ConnectionPoolOptions, ConnectionTarget } from './client/connection-pool.js';
export { InputRequiredError, LocalDaemonNotFoundError, UnexpectedResultError } from './client/errors.js';
export type { KernelSpec } from './client/kernel-spec.js';
export { findLocalDaemon } from './client/local-daemon.js';
export type { LocalDaemon } from './client/local-daemon.js';
export type { BatchCommands, RunEvent, RunRequest } from './client/run.js';
export {
  BinarySize,
  createCodec,
  Decimal,
  EnumValue,
  enumValue,
  Float,
  ImageRef,
  PosixPath,
  ResourceSlot,
  SlotName,
  Uuid,
} from './codec/index.js';
export type { Codec, CodecOptions } from './codec/index.js';
export {
  CancelledError,
  isSpleniumError,
  KeyError,
  NotImplementedError,
  PythonTypeError,
  SpleniumError,
  TimeoutError,
  ValueError,
} from './core/errors.js';
export type { Logger } from './core/logger.js';
export { Dispatcher } from './rpc/dispatcher.js';
export type { AgentErrorReport, CallDeadlines, DispatcherOptions } from './rpc/dispatcher.js';
export type { ManagerVersion, Method, Parameter } from './rpc/method.js';
export { findMethod, METHODS, methodsFor, parametersOf } from './rpc/method-table.js';
export type { MethodName } from './rpc/method-table.js';
export type { AgentDirectory, NodeHealth, NodeServices } from './rpc/node-services.js';
export { AgentRPCServer } from './rpc/server.js';
export type { AgentRPCServerOptions } from './rpc/server.js';
export { AgentRuntime } from './runtime/agent-runtime.js';
export type { AgentFactory, AgentRuntimeOptions, StartedAgent } from './runtime/agent-runtime.js';
export { AgentIdNotFoundError, AgentStartError } from './runtime/errors.js';
