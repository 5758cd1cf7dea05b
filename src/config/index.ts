export { detectCloud } from './cloud-identity.js';
export type { CloudIdentity, CloudProbe, FetchText } from './cloud-identity.js';
export { createDirectories } from './directories.js';
export { diffConfig } from './diff.js';
export { loadDummyConfig } from './dummy.js';
export type { DummyConfig } from './dummy.js';
export type { ConfigChange } from './diff.js';
export { formatHostPort, isLoopback } from './host-port.js';
export type { HostPort } from './host-port.js';
export type { PortRange } from './formats.js';
export type { HostFacts } from './host-facts.js';
export {
  detectHosts,
  detectInstance,
  findAddressInSubnet,
  localAddresses,
  reportedAddresses,
} from './identity.js';
export type {
  DetectedHosts,
  HostDetection,
  InstanceIdentity,
  LocalAddress,
  ReportedAddresses,
} from './identity.js';
export { loadConfig } from './load.js';
export type { LoadedConfig, LoadOptions } from './load.js';
export type { Overlay } from './overlay.js';
export { probeConfig } from './probe.js';
export type { ProbeFinding, ProbeOptions } from './probe.js';
export { ConfigError, formatProblems } from './problems.js';
export type { ConfigProblem, ConfigWarning } from './problems.js';
export { configKeys } from './reference.js';
export type { ConfigKeyReference } from './reference.js';
export { sampleConfig } from './sample.js';
export { updateScalingGroup } from './scaling-group.js';
export { showConfig } from './show.js';
export type { ShowOptions } from './show.js';
export type * from './types.js';
