/** The public names of the package, one by one. */
export type { Agent } from './agent/agent.js';
export {
  AcceptedKeysDirectory,
  createErrorDescriber,
  derivePublicKey,
  generateKeyPair,
  isCurveKey,
  Peer,
  readPublicKeyFile,
  readSecretKeyFile,
  writeKeyFiles,
} from './callosum/index.js';
export {
  HandshakeError,
  KeyFileError,
  KeyFileModeError,
  PeerClosedError,
  RemoteInternalError,
  RemoteUserError,
  UnknownMethodError,
} from './callosum/index.js';
export type {
  AcceptedKeys,
  AcceptedKeysDirectoryOptions,
  BindOptions,
  CallHandler,
  ConnectOptions,
  CurveClientCredentials,
  CurveServerCredentials,
  IncomingCall,
  InvokeOptions,
  KeyFiles,
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
export type { Codec, CodecLimits, CodecOptions, Dialect } from './codec/index.js';
export { ConfigError, configKeys, formatProblems, loadConfig, sampleConfig } from './config/index.js';
export type {
  AgentConfig,
  ConfigKeyReference,
  ConfigProblem,
  ConfigWarning,
  DaemonConfig,
  LoadedConfig,
  LoadOptions,
} from './config/index.js';
export {
  CancelledError,
  FileNotFoundError,
  isSpleniumError,
  KeyError,
  LimitExceededError,
  NotImplementedError,
  PermissionError,
  PythonTypeError,
  RuntimeError,
  SpleniumError,
  TimeoutError,
  ValueError,
} from './core/errors.js';
export { asContainerId, parseAgentId, parseKernelId, parseSessionId } from './core/ids.js';
export type { AgentId, ContainerId, KernelId, SessionId } from './core/ids.js';
export { silentLogger } from './core/logger.js';
export type { LogFields, Logger } from './core/logger.js';
export { noMetrics } from './core/metrics.js';
export type { Counter, Gauge, Histogram, Labels, MetricDefinition, Metrics } from './core/metrics.js';
export { VERSION } from './core/version.js';
export type {
  ExposedPorts,
  MemberPort,
  NetworkMember,
  NetworkPlugin,
  NetworkPluginFactory,
} from './kernels/networks/network-plugin.js';
export type {
  MetadataKernel,
  MetadataPlugin,
  MetadataPluginFactory,
  MetadataValue,
} from './metadata/metadata-plugin.js';
export { CpuPlugin, MemoryPlugin, MockPlugin, NodeResources } from './resources/index.js';
export type {
  Allocation,
  AllocationMode,
  AllocationRequest,
  AllocationStyle,
  CpuPluginOptions,
  Device,
  DeviceAttachment,
  DeviceMeasure,
  DevicePlugin,
  DevicePluginContext,
  DevicePluginFactory,
  DockerArguments,
  Granted,
  HardwareInfo,
  MemoryPluginOptions,
  MockDevice,
  MockPluginOptions,
  NodeResourcesOptions,
  SlotDescription,
  SlotType,
} from './resources/index.js';
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
