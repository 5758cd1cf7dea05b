import { createCodec } from '../../src/codec/index.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../src/core/ids.js';
import type { AgentEvent, AgentInfo } from '../../src/events/catalogue.js';
import { EventEncoder } from '../../src/events/event-encoder.js';
import { TERMINATION_REASONS } from '../../src/events/termination-reasons.js';
import { EVENT_KINDS } from '../../src/events/wire/delivery.js';
import type { KernelCreationResult } from '../../src/kernels/requests.js';
import { PythonScript } from '../support/python.js';
import { describeRequiring, ORIGINAL_PYTHON, ORIGINAL_PYTHON_26 } from '../support/requirements.js';

const AGENT = parseAgentId('i-agent01');
const KERNEL = parseKernelId('11111111-1111-4111-8111-111111111111');
const SESSION = parseSessionId('22222222-2222-4222-8222-222222222222');
const CONTAINER = asContainerId('c'.repeat(64));
const TASK = '33333333-3333-4333-8333-333333333333';
const IMAGE = 'cr.backend.ai/stable/python:3.9-ubuntu20.04';
const KEY = 'E4lL$b9c+UgC}v1n0?kF%A@r6T8q&x2Yh5Wz7Dm3';

const CREATION: KernelCreationResult = {
  id: KERNEL,
  containerId: CONTAINER,
  kernelHost: '10.0.0.1',
  replInPort: 30_000,
  replOutPort: 30_001,
  servicePorts: [
    { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30_002], isInference: false },
    { name: 'jupyter', protocol: 'http', containerPorts: [8080], hostPorts: [30_003], isInference: false },
    { name: 'hostport1', protocol: 'internal', containerPorts: [1], hostPorts: [1], isInference: false },
  ],
  resourceSpec: {
    slots: { cpu: '2', mem: '1073741824', 'cuda.shares': '0.5' },
    allocations: {
      cpu: { cpu: { '0': '1', '1': '1' } },
      mem: { mem: { root: '1073741824' } },
      cuda: { 'cuda.shares': { '0': '0.5' } },
    },
    scratchDiskSizeBytes: 0,
    mounts: [],
  },
  attachedDevices: {
    cpu: [
      { deviceId: '0', modelName: 'a cpu', data: { cores: 1 } },
      { deviceId: '1', modelName: 'a cpu', data: { cores: 1 } },
    ],
    mem: [{ deviceId: 'root', modelName: '', data: { memBytes: 1_073_741_824n } }],
    cuda: [{ deviceId: '0', modelName: 'a gpu', data: { smp: 132, memBytes: 150_000_000_000n } }],
  },
  agentAddr: 'tcp://10.0.0.1:6001',
  scalingGroup: 'default',
};

const INFO: AgentInfo = {
  host: '10.0.0.1',
  address: 'tcp://10.0.0.1:6001',
  region: 'local',
  scalingGroup: 'default',
  publicKey: KEY,
  publicHost: '203.0.113.7',
  availableSlots: { cpu: '8', mem: '17179869184', 'cuda.shares': '1.5' },
  slotTypes: { cpu: 'count', mem: 'bytes', 'cuda.shares': 'count' },
  version: '25.17.1',
  computePlugins: { cpu: { version: '25.17.1' }, mem: { version: '25.17.1' } },
  images: [{ canonical: IMAGE, digest: `sha256:${'0'.repeat(64)}`, architecture: 'x86_64' }],
  architecture: 'x86_64',
  autoTerminateAbusingKernel: false,
};

/** What a reader is expected to find: fields of the event class, or of both classes where both halves exist. */
interface Sample {
  readonly event: AgentEvent;
  /** Null where those managers do not know the event yet. */
  readonly fields25: object | null;
  /** Null where those managers do not know the event any more. */
  readonly fields26: object | null;
}

const KERNEL_END = {
  name: 'kernel_terminated',
  kernelId: KERNEL,
  sessionId: SESSION,
  reason: 'user-requested',
  exitCode: -1,
} as const;

const ids = { kernel_id: `uuid:${KERNEL}`, session_id: `uuid:${SESSION}` };
const same = (event: AgentEvent, fields: object): Sample => ({ event, fields25: fields, fields26: fields });
const step = (name: 'kernel_preparing' | 'kernel_pulling' | 'kernel_creating', reason = ''): Sample =>
  same({ name, kernelId: KERNEL, sessionId: SESSION, reason }, { ...ids, reason });
const outcome = (name: 'session_success' | 'session_failure', reason: string, exitCode: number): Sample =>
  same(
    { name, sessionId: SESSION, reason, exitCode },
    { session_id: `uuid:${SESSION}`, reason, exit_code: exitCode },
  );
const execution = (name: 'execution_started' | 'execution_finished' | 'execution_timeout'): Sample =>
  same({ name, sessionId: SESSION }, { session_id: `uuid:${SESSION}` });
const ended = (name: 'bgtask_done' | 'bgtask_cancelled' | 'bgtask_failed', message: string | null): Sample =>
  same({ name, taskId: TASK, message }, { task_id: `uuid:${TASK}`, message });

const volume = (
  name: 'volume_mounted' | 'volume_unmounted',
  mountPath: string,
  errorMessage: string | null,
): Sample =>
  same(
    { name, mountPath, quotaScopeId: `user:${KERNEL}`, errorMessage },
    {
      node_id: AGENT,
      node_type: 'agent',
      mount_path: mountPath,
      quota_scope_id: `user:${KERNEL}`,
      err_msg: errorMessage,
    },
  );

/** One of each kind: a new member of the catalogue does not compile without its sample. */
const SAMPLES: Readonly<Record<AgentEvent['name'], Sample>> = {
  agent_started: same({ name: 'agent_started', reason: 'self-started' }, { reason: 'self-started' }),
  agent_terminated: same({ name: 'agent_terminated', reason: 'shutdown' }, { reason: 'shutdown' }),
  agent_error: same(
    { name: 'agent_error', message: 'the disk is full ✗', traceback: 'at …' },
    { message: 'the disk is full ✗', traceback: 'at …', user: null, context_env: {}, severity: 'ERROR' },
  ),
  do_agent_resource_check: same({ name: 'do_agent_resource_check' }, { agent_id: AGENT }),
  agent_installed_images_remove: same(
    { name: 'agent_installed_images_remove', images: INFO.images },
    { scanned_images: { [IMAGE]: { canonical: IMAGE, digest: INFO.images[0]?.digest } } },
  ),
  agent_status_heartbeat: {
    event: {
      name: 'agent_status_heartbeat',
      containers: [{ containerId: CONTAINER, kernelId: KERNEL, status: 'running' }],
      kernels: [
        { kernelId: KERNEL, containerId: CONTAINER },
        { kernelId: KERNEL, containerId: null },
      ],
    },
    fields25: {
      agent_id: AGENT,
      active_containers: [{ container_id: CONTAINER, kernel_id: `uuid:${KERNEL}`, status: 'running' }],
      active_kernels: [
        { kernel_id: `uuid:${KERNEL}`, container_id: CONTAINER },
        { kernel_id: `uuid:${KERNEL}`, container_id: null },
      ],
    },
    fields26: null,
  },
  agent_heartbeat: {
    event: { name: 'agent_heartbeat', info: INFO },
    fields25: {
      agent_info: {
        ip: '10.0.0.1',
        region: 'local',
        scaling_group: 'default',
        addr: 'tcp://10.0.0.1:6001',
        public_key: `bytes:${KEY}`,
        public_host: '203.0.113.7',
        available_resource_slots: {
          cpu: 'decimal:8',
          mem: 'decimal:17179869184',
          'cuda.shares': 'decimal:1.5',
        },
        slot_key_and_units: INFO.slotTypes,
        version: '25.17.1',
        compute_plugins: INFO.computePlugins,
        architecture: 'x86_64',
        auto_terminate_abusing_kernel: false,
        images_opts: { compression: 'zlib' },
      },
    },
    fields26: {
      agent_info: {
        ip: '10.0.0.1',
        scaling_group: 'default',
        public_key: `bytes:${KEY}`,
        available_resource_slots: [
          { resource_type: 'cpu', quantity: '8' },
          { resource_type: 'mem', quantity: '17179869184' },
          { resource_type: 'cuda.shares', quantity: '1.5' },
        ],
        slot_key_and_units: INFO.slotTypes,
        compute_plugins: INFO.computePlugins,
      },
    },
  },
  image_pull_started: same(
    { name: 'image_pull_started', image: IMAGE, timestampMs: 1_700_000_000_500 },
    { image: IMAGE, agent_id: AGENT, timestamp: 1_700_000_000.5 },
  ),
  image_pull_finished: same(
    { name: 'image_pull_finished', image: IMAGE, timestampMs: 1_700_000_000_000, message: null },
    { image: IMAGE, agent_id: AGENT, timestamp: 1_700_000_000, msg: null },
  ),
  image_pull_failed: same(
    { name: 'image_pull_failed', image: IMAGE, message: 'no such image' },
    { image: IMAGE, agent_id: AGENT, msg: 'no such image' },
  ),
  kernel_preparing: step('kernel_preparing'),
  kernel_pulling: step('kernel_pulling', IMAGE),
  kernel_creating: step('kernel_creating'),
  kernel_started: {
    event: {
      name: 'kernel_started',
      kernelId: KERNEL,
      sessionId: SESSION,
      reason: 'new-container-started',
      creation: CREATION,
    },
    fields25: {
      ...ids,
      reason: 'new-container-started',
      creation_info: {
        id: KERNEL,
        container_id: CONTAINER,
        kernel_host: '10.0.0.1',
        repl_in_port: 30_000,
        stdin_port: 0,
        service_ports: [{ name: 'sshd' }, { name: 'jupyter' }],
        resource_spec: { allocations: CREATION.resourceSpec.allocations },
        attached_devices: { cuda: [{ device_id: '0', data: { mem: 150_000_000_000, proc: 132 } }] },
      },
    },
    fields26: {
      ...ids,
      reason: 'new-container-started',
      creation_info: {
        container_id: CONTAINER,
        repl_out_port: 30_001,
        service_ports: [
          { name: 'sshd', protocol: 'tcp' },
          { name: 'jupyter', protocol: 'http' },
        ],
        used_devices: {
          units: {
            mem: { root: { used: { mem: 'decimal:1073741824' }, memory_size: 1_073_741_824 } },
            cuda: {
              '0': {
                model_name: 'a gpu',
                used: { 'cuda.shares': 'decimal:0.5' },
                processing_units: 132,
                memory_size: 150_000_000_000,
              },
            },
          },
        },
      },
    },
  },
  kernel_terminated: {
    event: KERNEL_END,
    fields25: { ...ids, reason: 'user-requested', exit_code: -1 },
    fields26: { ...ids, reason: 'user-requested', exit_code: -1 },
  },
  session_success: outcome('session_success', 'task-finished', 0),
  session_failure: outcome('session_failure', 'task-failed', 3),
  execution_started: execution('execution_started'),
  execution_finished: execution('execution_finished'),
  execution_timeout: execution('execution_timeout'),
  do_sync_kernel_logs: same(
    { name: 'do_sync_kernel_logs', kernelId: KERNEL, containerId: CONTAINER },
    { kernel_id: `uuid:${KERNEL}`, container_id: CONTAINER },
  ),
  model_service_status_updated: {
    event: { name: 'model_service_status_updated', sessionId: SESSION, status: 'healthy' },
    fields25: { session_id: `uuid:${SESSION}`, new_status: 'healthy' },
    fields26: null,
  },
  bgtask_updated: same(
    { name: 'bgtask_updated', taskId: TASK, current: 3, total: 10, message: 'layer 3' },
    { task_id: `uuid:${TASK}`, current_progress: 3, total_progress: 10, message: 'layer 3' },
  ),
  bgtask_done: ended('bgtask_done', 'pulled'),
  bgtask_cancelled: ended('bgtask_cancelled', null),
  bgtask_failed: ended('bgtask_failed', 'RuntimeError: no space'),
  volume_mounted: volume('volume_mounted', '/mnt/volume', null),
  volume_unmounted: volume('volume_unmounted', '', 'target is busy'),
  service_registered: {
    event: {
      name: 'service_registered',
      instanceId: 'node1',
      serviceGroup: 'agent',
      displayName: 'Node 1',
      version: '0.1.0',
      labels: { zone: 'a' },
      endpoints: [
        { role: 'main', scope: 'private', address: '10.0.0.1', port: 6001, protocol: 'zmq', metadata: {} },
      ],
      startedAtMs: 1_700_000_000_000,
    },
    fields25: null,
    fields26: {
      instance_id: 'node1',
      service_group: 'agent',
      display_name: 'Node 1',
      version: '0.1.0',
      labels: { zone: 'a' },
      endpoints: [{ role: 'main', scope: 'private', address: '10.0.0.1', port: 6001, protocol: 'zmq' }],
      startup_time: 'datetime:2023-11-14T22:13:20+00:00',
      config_hash: '',
    },
  },
  service_deregistered: {
    event: { name: 'service_deregistered', instanceId: 'node1', serviceGroup: 'agent' },
    fields25: null,
    fields26: { instance_id: 'node1', service_group: 'agent' },
  },
};

interface Reading {
  readonly name: string;
  readonly error?: string;
  readonly source?: string;
  readonly metadata?: unknown;
  readonly anycast?: unknown;
  readonly broadcast?: unknown;
  /** Where the manager looks for the last state, and where we keep it. */
  readonly cache_id?: string;
  readonly cacheKey?: string | null | undefined;
  readonly manager?: unknown;
}

/** Every sample in the bytes of one line of managers, read by that line's own code. */
async function readings(
  python: string,
  script: string,
  managerVersion: '25.17' | '26.9',
  events: readonly AgentEvent[],
): Promise<readonly Reading[]> {
  const encoder = new EventEncoder({ managerVersion, codec: createCodec() });
  const encoded = events.map((event) => encoder.encode(AGENT, event));
  const [first, ...rest] = encoded.map((one) => ({
    name: one?.name,
    anycast: one?.anycast?.map(([name, value]) => [name, value.toString('base64')]) ?? null,
    broadcast: one?.broadcast ?? null,
  }));
  const reader = new PythonScript(python, script, first);
  for (const one of rest) reader.write(one);
  const read = (await reader.end()) as readonly Reading[];
  return read.map((one, index) => ({ ...one, cacheKey: encoded[index]?.cacheKey }));
}

const { agent_heartbeat, kernel_started, kernel_terminated, ...others } = SAMPLES;
const all = [agent_heartbeat, kernel_started, kernel_terminated, ...Object.values(others)];

function expectRead(reading: Reading | undefined, event: AgentEvent, fields: object): void {
  const { delivery } = EVENT_KINDS[event.name];
  expect(reading?.error).toBeUndefined();
  expect(reading).toMatchObject({
    name: event.name,
    source: AGENT,
    metadata: { request_id: null, user: null },
    ...(delivery === 'cached-broadcast' || delivery === 'broadcast' ? {} : { anycast: fields }),
    ...(delivery === 'anycast' ? {} : { broadcast: fields }),
    ...(delivery === 'cached-broadcast' ? { cache_id: reading?.cacheKey } : {}),
  });
}

describeRequiring(ORIGINAL_PYTHON, 'the decoders of a manager 25.17.1 read every event', (python) => {
  const known = all.flatMap(({ event, fields25 }) => (fields25 ? [{ event, fields25 }] : []));
  let read: readonly Reading[];
  beforeAll(async () => {
    const events = known.map(({ event }) => event);
    read = await readings(python, 'events_reader_25.py', '25.17', events);
  }, 120_000);

  test.each(known.map(({ event, fields25 }, index) => ({ name: event.name, event, fields25, index })))(
    '$name',
    ({ event, fields25, index }) => {
      expectRead(read[index], event, fields25);
    },
  );

  test('kinds that those managers do not know yet are not sent', () => {
    const encoder = new EventEncoder({ managerVersion: '25.17', codec: createCodec() });
    const later = all.flatMap(({ event, fields25 }) => (fields25 ? [] : [event]));
    expect(later.map((event) => encoder.encode(AGENT, event))).toEqual(later.map(() => null));
  });

  test('a heartbeat becomes the row of an agent, with slots as the manager calculates with them', () => {
    expect(read[0]?.manager).toEqual({
      slots: { cpu: '8', mem: '17179869184', 'cuda.shares': '1.5' },
      slot_class: 'ResourceSlot',
      public_key: `bytes:${KEY}`,
      images: [[IMAGE, INFO.images[0]?.digest]],
    });
  });

  test('a started kernel is charged what it was given', () => {
    expect(read[1]?.manager).toEqual({
      allocations: { cpu: 'decimal:2', mem: 'decimal:1073741824', 'cuda.shares': 'decimal:0.5' },
    });
  });
});

describeRequiring(ORIGINAL_PYTHON_26, 'the decoders of a manager 26.9.6 read every event', (python) => {
  const known = all.flatMap(({ event, fields26 }) => (fields26 ? [{ event, fields26 }] : []));
  let read: readonly Reading[];
  beforeAll(async () => {
    const events = known.map(({ event }) => event);
    read = await readings(python, 'events_reader_26.py', '26.9', events);
  }, 120_000);

  test.each(known.map(({ event, fields26 }, index) => ({ name: event.name, event, fields26, index })))(
    '$name',
    ({ event, fields26, index }) => {
      expectRead(read[index], event, fields26);
    },
  );

  test('a started kernel is charged what it was given', () => {
    expect(read[1]?.manager).toEqual({
      totals: [
        ['cpu', '2'],
        ['mem', '1073741824'],
        ['cuda.shares', '0.5'],
      ],
    });
  });

  test('a reason in words of our own is read as one that the manager knows', async () => {
    const event: AgentEvent = { ...KERNEL_END, reason: 'the operator pulled the plug' };
    const [reading] = await readings(python, 'events_reader_26.py', '26.9', [event]);
    expect(reading).toMatchObject({ anycast: { reason: 'unknown' }, broadcast: { reason: 'unknown' } });
  }, 120_000);

  test('a reason that the manager gave for an end comes back to it as it was', async () => {
    const ends = TERMINATION_REASONS.map((reason): AgentEvent => ({ ...KERNEL_END, reason }));
    const read = await readings(python, 'events_reader_26.py', '26.9', ends);
    expect(read.map(({ error }) => error)).toEqual(ends.map(() => undefined));
    expect(read.map(({ anycast }) => (anycast as { readonly reason: unknown }).reason)).toEqual(
      TERMINATION_REASONS,
    );
    expect(TERMINATION_REASONS).toEqual(
      expect.arrayContaining(['preempted-by-scheduler', 'agent-resource-group-changed', 'stale-kernel']),
    );
  }, 120_000);

  test('kinds that those managers do not know are not sent', () => {
    const encoder = new EventEncoder({ managerVersion: '26.9', codec: createCodec() });
    const gone = all.flatMap(({ event, fields26 }) => (fields26 ? [] : [event]));
    expect(gone.map((event) => encoder.encode(AGENT, event))).toEqual(gone.map(() => null));
  });
});
