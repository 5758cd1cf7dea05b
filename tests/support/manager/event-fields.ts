/** Fields of 26.x events in the order of the 25.17 tuple, as far as a manager looks at them (spec/events-and-stores.md 3.5, 3.9). */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  agent_started: ['reason'],
  agent_terminated: ['reason'],
  agent_heartbeat: ['agent_info'],
  agent_error: ['message', 'traceback', 'user', 'context_env', 'severity'],
  agent_installed_images_remove: ['scanned_images'],
  do_agent_resource_check: ['agent_id'],
  image_pull_started: ['image', 'agent_id', 'timestamp', 'image_ref'],
  image_pull_finished: ['image', 'agent_id', 'timestamp', 'msg', 'image_ref'],
  image_pull_failed: ['image', 'agent_id', 'msg', 'image_ref'],
  kernel_preparing: ['kernel_id', 'session_id', 'reason'],
  kernel_pulling: ['kernel_id', 'session_id', 'reason'],
  kernel_creating: ['kernel_id', 'session_id', 'reason'],
  kernel_started: ['kernel_id', 'session_id', 'reason', 'creation_info'],
  kernel_terminated: ['kernel_id', 'session_id', 'reason', 'exit_code'],
  session_success: ['session_id', 'reason', 'exit_code'],
  session_failure: ['session_id', 'reason', 'exit_code'],
  execution_started: ['session_id'],
  execution_finished: ['session_id'],
  execution_timeout: ['session_id'],
  do_sync_kernel_logs: ['kernel_id', 'container_id'],
  bgtask_updated: ['task_id', 'current_progress', 'total_progress', 'message'],
  bgtask_done: ['task_id', 'message'],
  bgtask_failed: ['task_id', 'message'],
  bgtask_cancelled: ['task_id', 'message'],
};

/** @throws Error for an event that 26.x managers do not know, and for one that lacks a field. */
export function argsOf(name: string, payload: Readonly<Record<string, unknown>>): readonly unknown[] {
  const fields = FIELDS[name];
  if (!fields) throw new Error(`${name} is no event of 26.x`);
  return fields.map((field) => {
    if (!(field in payload)) throw new Error(`${name} has no ${field}`);
    return payload[field];
  });
}
