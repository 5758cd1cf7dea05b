/**
 * The reasons that managers know (spec/events-and-stores.md 3.7). Those of the second part came with 26.9: an older manager
 * neither sends nor expects them, and to one of 25.17 a reason is any text.
 */
export const TERMINATION_REASONS = [
  'agent-termination',
  'already-terminated',
  'anomaly-detected',
  'exec-timeout',
  'failed-to-create',
  'failed-to-start',
  'force-terminated',
  'bootstrap-timeout',
  'hang-timeout',
  'idle-timeout',
  'idle-session-lifetime',
  'idle-utilization',
  'killed-by-event',
  'service-scaled-down',
  'new-container-started',
  'pending-timeout',
  'restarting',
  'restart-timeout',
  'resuming-agent-operation',
  'self-terminated',
  'task-failed',
  'task-timeout',
  'task-cancelled',
  'task-finished',
  'terminated-unknown-container',
  'unknown',
  'user-requested',
  'user-purged',
  'not-found-in-manager',
  'container-not-found',
  'route-termination',
  'dry-run-complete',
  'preempted-by-scheduler',
  'agent-resource-group-changed',
  'stale-kernel',
  'exceeded-max-retries',
  'abnormal-termination',
  'rescheduled',
  'triggered-by-scheduler',
  'passed-preconditions',
  'deprioritized-for-rescheduling',
  'preemption-reservation',
  'preempted-by-reservation',
  'kernel-handler-failure',
] as const;

export type TerminationReason = (typeof TERMINATION_REASONS)[number];

const known: ReadonlySet<string> = new Set(TERMINATION_REASONS);

/** A 26.x manager refuses an event with any other text, so a text of somebody's own becomes `unknown` there. */
export const knownReason = (reason: string): TerminationReason =>
  known.has(reason) ? (reason as TerminationReason) : 'unknown';
