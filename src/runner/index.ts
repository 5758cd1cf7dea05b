/** The agent's side of the kernel-runner protocol (spec/kernel-runner.md). */
export { RunnerClosedError } from './errors.js';
export type * from './execution.js';
export { DEFAULT_LIMITS } from './limits.js';
export type { RunnerLinkLimits } from './limits.js';
export { modelServiceTimeoutMs, RunnerLink } from './link.js';
export type {
  ModelDefinition,
  ReplyOptions,
  RunnerEvent,
  RunnerLinkOptions,
  ServiceRequest,
} from './link.js';
export type { AppsResult, CompletionResult, RunnerApp, RunnerStatus, ServiceResult } from './replies.js';
