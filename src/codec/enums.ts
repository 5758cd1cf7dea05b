import { EnumValue } from './values.js';

/**
 * The enum classes a pickle may name, with their members: the only ones that the restricted reader builds. Members of
 * 25.17 and 26.8 together (spec/wire-protocol.md 4.6).
 */
interface EnumClass {
  readonly module: string;
  readonly name: string;
  /** Python matches the value without regard to case. */
  readonly caseInsensitive?: true;
  readonly members: Readonly<Record<string, string | number>>;
}

const CLASSES = [
  { module: 'ai.backend.common.types', name: 'IntrinsicSlotNames', members: { CPU: 'cpu', MEMORY: 'mem' } },
  {
    module: 'ai.backend.common.types',
    name: 'SessionTypes',
    caseInsensitive: true,
    members: { INTERACTIVE: 'interactive', BATCH: 'batch', INFERENCE: 'inference', SYSTEM: 'system' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'SessionResult',
    caseInsensitive: true,
    members: { UNDEFINED: 'undefined', SUCCESS: 'success', FAILURE: 'failure' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'ClusterMode',
    members: { SINGLE_NODE: 'single-node', MULTI_NODE: 'multi-node' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'AutoPullBehavior',
    members: { DIGEST: 'digest', TAG: 'tag', NONE: 'none' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'ServicePortProtocols',
    members: { HTTP: 'http', TCP: 'tcp', PREOPEN: 'preopen', INTERNAL: 'internal', VNC: 'vnc', RDP: 'rdp' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'MountPermission',
    members: { READ_ONLY: 'ro', READ_WRITE: 'rw', RW_DELETE: 'wd' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'MountTypes',
    members: {
      VOLUME: 'volume',
      BIND: 'bind',
      TMPFS: 'tmpfs',
      K8S_GENERIC: 'k8s-generic',
      K8S_HOSTPATH: 'k8s-hostpath',
      OVERLAY: 'overlay',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'CommitStatus',
    members: { READY: 'ready', ONGOING: 'ongoing' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'SlotTypes',
    members: { COUNT: 'count', BYTES: 'bytes', UNIQUE: 'unique', UNIFIED: 'unified' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'ContainerStatus',
    members: {
      RUNNING: 'running',
      RESTARTING: 'restarting',
      PAUSED: 'paused',
      EXITED: 'exited',
      DEAD: 'dead',
      REMOVING: 'removing',
      CREATED: 'created',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'KernelLifecycleStatus',
    members: {
      PREPARING: 'preparing',
      RUNNING: 'running',
      TERMINATING: 'terminating',
      NOT_REGISTERED: 'not_registered',
      CONTAINER_NOT_FOUND: 'container_not_found',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'ResourceGroupType',
    members: { COMPUTE: 'compute', STORAGE: 'storage' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'RuntimeVariant',
    members: {
      VLLM: 'vllm',
      NIM: 'nim',
      CMD: 'cmd',
      HUGGINGFACE_TGI: 'huggingface-tgi',
      SGLANG: 'sglang',
      MODULAR_MAX: 'modular-max',
      CUSTOM: 'custom',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'VFolderUsageMode',
    caseInsensitive: true,
    members: { GENERAL: 'general', MODEL: 'model', DATA: 'data' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'QuotaScopeType',
    members: { USER: 'user', PROJECT: 'project' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'VFolderHostPermission',
    members: {
      CREATE: 'create-vfolder',
      MODIFY: 'modify-vfolder',
      DELETE: 'delete-vfolder',
      MOUNT_IN_SESSION: 'mount-in-session',
      UPLOAD_FILE: 'upload-file',
      DOWNLOAD_FILE: 'download-file',
      INVITE_OTHERS: 'invite-others',
      SET_USER_PERM: 'set-user-specific-permission',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'DefaultForUnspecified',
    members: { LIMITED: 'LIMITED', UNLIMITED: 'UNLIMITED' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'HandlerForUnknownSlotName',
    members: { DROP: 'drop', ERROR: 'error' },
  },
  {
    module: 'ai.backend.common.types',
    name: 'AgentSelectionStrategy',
    members: {
      DISPERSED: 'dispersed',
      CONCENTRATED: 'concentrated',
      ROUNDROBIN: 'roundrobin',
      LEGACY: 'legacy',
    },
  },
  {
    module: 'ai.backend.common.types',
    name: 'ModelServiceStatus',
    members: { HEALTHY: 'healthy', UNHEALTHY: 'unhealthy' },
  },
  { module: 'ai.backend.common.types', name: 'QueueSentinel', members: { CLOSED: 0, TIMEOUT: 1 } },
  { module: 'ai.backend.common.types', name: 'Sentinel', members: { TOKEN: 0 } },
  {
    module: 'ai.backend.common.docker',
    name: 'LabelName',
    members: {
      KERNEL_SPEC: 'ai.backend.kernelspec',
      FEATURES: 'ai.backend.features',
      BASE_DISTRO: 'ai.backend.base-distro',
      RUNTIME_TYPE: 'ai.backend.runtime-type',
      RUNTIME_PATH: 'ai.backend.runtime-path',
      ROLE: 'ai.backend.role',
      ENVS_CORECOUNT: 'ai.backend.envs.corecount',
      ACCELERATORS: 'ai.backend.accelerators',
      SERVICE_PORTS: 'ai.backend.service-ports',
      BLOCK_SERVICE_PORTS: 'ai.backend.internal.block-service-ports',
      KERNEL_ID: 'ai.backend.kernel-id',
      SESSION_ID: 'ai.backend.session-id',
      OWNER_AGENT: 'ai.backend.owner',
      ENDPOINT_PORTS: 'ai.backend.endpoint-ports',
      MODEL_PATH: 'ai.backend.model-path',
      MODEL_FORMAT: 'ai.backend.model-format',
      CUSTOMIZED_OWNER: 'ai.backend.customized-image.owner',
      CUSTOMIZED_NAME: 'ai.backend.customized-image.name',
      CUSTOMIZED_ID: 'ai.backend.customized-image.id',
      CUSTOMIZED_USER_EMAIL: 'ai.backend.customized-image.user.email',
      OWNER_USER: 'ai.backend.owner-user-id',
      OWNER_PROJECT: 'ai.backend.owner-project-id',
      AGENT_ID: 'ai.backend.agent-id',
    },
  },
  {
    module: 'ai.backend.common.docker',
    name: 'KernelFeatures',
    members: {
      UID_MATCH: 'uid-match',
      USER_INPUT: 'user-input',
      BATCH_MODE: 'batch',
      QUERY_MODE: 'query',
      TTY_MODE: 'tty',
      OPERATION: 'operation',
      PRIVATE: 'private',
    },
  },
  {
    module: 'ai.backend.common.events.event_types.kernel.types',
    name: 'KernelLifecycleEventReason',
    members: {
      AGENT_TERMINATION: 'agent-termination',
      ALREADY_TERMINATED: 'already-terminated',
      ANOMALY_DETECTED: 'anomaly-detected',
      EXEC_TIMEOUT: 'exec-timeout',
      FAILED_TO_CREATE: 'failed-to-create',
      FAILED_TO_START: 'failed-to-start',
      FORCE_TERMINATED: 'force-terminated',
      BOOTSTRAP_TIMEOUT: 'bootstrap-timeout',
      HANG_TIMEOUT: 'hang-timeout',
      IDLE_TIMEOUT: 'idle-timeout',
      IDLE_SESSION_LIFETIME: 'idle-session-lifetime',
      IDLE_UTILIZATION: 'idle-utilization',
      KILLED_BY_EVENT: 'killed-by-event',
      SERVICE_SCALED_DOWN: 'service-scaled-down',
      NEW_CONTAINER_STARTED: 'new-container-started',
      PENDING_TIMEOUT: 'pending-timeout',
      RESTARTING: 'restarting',
      RESTART_TIMEOUT: 'restart-timeout',
      RESUMING_AGENT_OPERATION: 'resuming-agent-operation',
      SELF_TERMINATED: 'self-terminated',
      TASK_FAILED: 'task-failed',
      TASK_TIMEOUT: 'task-timeout',
      TASK_CANCELLED: 'task-cancelled',
      TASK_FINISHED: 'task-finished',
      TERMINATED_UNKNOWN_CONTAINER: 'terminated-unknown-container',
      UNKNOWN: 'unknown',
      USER_REQUESTED: 'user-requested',
      USER_PURGED: 'user-purged',
      NOT_FOUND_IN_MANAGER: 'not-found-in-manager',
      CONTAINER_NOT_FOUND: 'container-not-found',
    },
  },
  {
    module: 'ai.backend.agent.types',
    name: 'AgentBackend',
    members: { DOCKER: 'docker', KUBERNETES: 'kubernetes', DUMMY: 'dummy' },
  },
  {
    module: 'ai.backend.agent.types',
    name: 'KernelLifecycleStatus',
    members: { PREPARING: 'preparing', RUNNING: 'running', TERMINATING: 'terminating' },
  },
  { module: 'ai.backend.agent.types', name: 'LifecycleEvent', members: { DESTROY: 0, CLEAN: 1, START: 2 } },
] as const satisfies readonly EnumClass[];

export type EnumClassName = (typeof CLASSES)[number]['name'];

const BY_NAME = new Map<string, EnumClass>(CLASSES.map((entry) => [`${entry.module}\0${entry.name}`, entry]));
const BY_SHORT_NAME = new Map<string, EnumClass>(CLASSES.map((entry) => [entry.name, entry]));

export function findEnumClass(module: string, name: string): EnumClass | undefined {
  return BY_NAME.get(`${module}\0${name}`);
}

/** The member with this value, or undefined: an unknown value must not become an object. */
export function enumMember(found: EnumClass, value: unknown): EnumValue | undefined {
  const values = Object.values(found.members);
  const match = values.find((member) => member === value);
  if (match !== undefined) return new EnumValue(found.module, found.name, match);
  if (found.caseInsensitive !== true || typeof value !== 'string') return undefined;
  const folded = values.find(
    (member) => typeof member === 'string' && member.toLowerCase() === value.toLowerCase(),
  );
  return folded === undefined ? undefined : new EnumValue(found.module, found.name, folded);
}

/** The member of that Python name, as early CPython 3.11 pickles it. */
export function enumMemberByName(found: EnumClass, memberName: string): EnumValue | undefined {
  if (!Object.hasOwn(found.members, memberName)) return undefined;
  const value = found.members[memberName];
  return value === undefined ? undefined : new EnumValue(found.module, found.name, value);
}

/** For replies: `enumValue('ServicePortProtocols', 'http')`. */
export function enumValue(className: EnumClassName, value: string | number): EnumValue {
  const found = BY_SHORT_NAME.get(className);
  const member = found && enumMember(found, value);
  if (!member) throw new RangeError(`${className} has no member ${String(value)}`);
  return member;
}
