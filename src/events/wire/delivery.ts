import type { AgentEvent } from '../catalogue.js';

/** How an event travels (spec/events-and-stores.md 3.1): a stream read by one consumer a group, a channel, or both. */
export type Delivery = 'anycast' | 'both' | 'broadcast' | 'cached-broadcast';

/** What a full outbox may let go of: nothing may be lost of a kernel's life; the rest is repeated or only tells. */
export type Importance = 'lifecycle' | 'report';

export const EVENT_KINDS: Readonly<
  Record<AgentEvent['name'], { readonly delivery: Delivery; readonly importance: Importance }>
> = {
  agent_started: { delivery: 'anycast', importance: 'lifecycle' },
  agent_terminated: { delivery: 'anycast', importance: 'lifecycle' },
  agent_heartbeat: { delivery: 'anycast', importance: 'report' },
  agent_status_heartbeat: { delivery: 'anycast', importance: 'report' },
  agent_error: { delivery: 'anycast', importance: 'report' },
  agent_installed_images_remove: { delivery: 'anycast', importance: 'report' },
  do_agent_resource_check: { delivery: 'anycast', importance: 'report' },
  image_pull_started: { delivery: 'anycast', importance: 'lifecycle' },
  image_pull_finished: { delivery: 'anycast', importance: 'lifecycle' },
  image_pull_failed: { delivery: 'anycast', importance: 'lifecycle' },
  kernel_preparing: { delivery: 'both', importance: 'lifecycle' },
  kernel_pulling: { delivery: 'both', importance: 'lifecycle' },
  kernel_creating: { delivery: 'both', importance: 'lifecycle' },
  kernel_started: { delivery: 'both', importance: 'lifecycle' },
  kernel_terminated: { delivery: 'both', importance: 'lifecycle' },
  session_success: { delivery: 'both', importance: 'lifecycle' },
  session_failure: { delivery: 'both', importance: 'lifecycle' },
  execution_started: { delivery: 'anycast', importance: 'report' },
  execution_finished: { delivery: 'anycast', importance: 'report' },
  execution_timeout: { delivery: 'anycast', importance: 'report' },
  do_sync_kernel_logs: { delivery: 'anycast', importance: 'lifecycle' },
  model_service_status_updated: { delivery: 'both', importance: 'report' },
  bgtask_updated: { delivery: 'cached-broadcast', importance: 'report' },
  bgtask_done: { delivery: 'cached-broadcast', importance: 'lifecycle' },
  bgtask_cancelled: { delivery: 'cached-broadcast', importance: 'lifecycle' },
  bgtask_failed: { delivery: 'cached-broadcast', importance: 'lifecycle' },
  volume_mounted: { delivery: 'broadcast', importance: 'lifecycle' },
  volume_unmounted: { delivery: 'broadcast', importance: 'lifecycle' },
  service_registered: { delivery: 'anycast', importance: 'report' },
  service_deregistered: { delivery: 'anycast', importance: 'report' },
};
