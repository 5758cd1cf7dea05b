import { createCodec, ResourceSlot, SlotName } from '../../../src/codec/index.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import type { AgentEvent, AgentInfo } from '../../../src/events/catalogue.js';
import { EventEncoder } from '../../../src/events/event-encoder.js';
import { EVENT_KINDS } from '../../../src/events/wire/delivery.js';
import { argsFor25 } from '../../../src/events/wire/args-25.js';
import type { KernelCreationResult } from '../../../src/kernels/requests.js';

const AGENT = parseAgentId('i-agent01');
const KERNEL = parseKernelId('11111111-1111-4111-8111-111111111111');
const SESSION = parseSessionId('22222222-2222-4222-8222-222222222222');
const codec = createCodec();
const encoder25 = new EventEncoder({ managerVersion: '25.17', codec });
const encoder26 = new EventEncoder({ managerVersion: '26.9', codec });

const CREATION: KernelCreationResult = {
  id: KERNEL,
  containerId: 'c'.repeat(64),
  kernelHost: '10.0.0.1',
  replInPort: 30_000,
  replOutPort: 30_001,
  servicePorts: [
    { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30_002], isInference: false },
    { name: 'hostport1', protocol: 'internal', containerPorts: [1], hostPorts: [1], isInference: false },
  ],
  resourceSpec: {
    slots: { cpu: '1', mem: '1073741824' },
    allocations: { cpu: { cpu: { '0': '1' } }, mem: { mem: { root: '1073741824' } } },
    scratchDiskSizeBytes: 0,
    mounts: [],
  },
  attachedDevices: {
    cpu: [{ deviceId: '0', modelName: 'a cpu', data: { cores: 1 } }],
    mem: [{ deviceId: 'root', modelName: '', data: { memBytes: 1_073_741_824n } }],
  },
  agentAddr: 'tcp://10.0.0.1:6001',
  scalingGroup: 'default',
};

const INFO: AgentInfo = {
  host: '10.0.0.1',
  address: 'tcp://10.0.0.1:6001',
  region: 'local',
  scalingGroup: 'default',
  publicKey: null,
  publicHost: '10.0.0.1',
  availableSlots: { cpu: '8', mem: '17179869184' },
  slotTypes: { cpu: 'count', mem: 'bytes' },
  version: '25.17.0',
  computePlugins: { cpu: { version: '25.17.0' }, mem: { version: '25.17.0' } },
  images: [],
  architecture: 'x86_64',
  autoTerminateAbusingKernel: false,
};

const argsHex = (event: AgentEvent): string => {
  const field = encoder25.encode(AGENT, event)?.anycast?.find(([name]) => name === 'args');
  return field?.[1].toString('hex') ?? '';
};

test('tuples are those of the appendix, byte for byte', () => {
  expect(argsHex({ name: 'agent_started', reason: 'self-started' })).toBe('91ac73656c662d73746172746564');
  expect(argsHex({ name: 'agent_terminated', reason: 'shutdown' })).toBe('91a873687574646f776e');
  const ids = Buffer.concat([
    Buffer.from('d924', 'hex'),
    Buffer.from(KERNEL),
    Buffer.from('d924', 'hex'),
    Buffer.from(SESSION),
  ]).toString('hex');
  expect(
    argsHex({
      name: 'kernel_terminated',
      kernelId: KERNEL,
      sessionId: SESSION,
      reason: 'user-requested',
      exitCode: -1,
    }),
  ).toBe(`94${ids}ae757365722d726571756573746564ff`);
  expect(
    argsHex({
      name: 'image_pull_finished',
      image: 'cr.backend.ai/stable/python:3.9-ubuntu20.04',
      timestampMs: 1_700_000_000_500,
      message: null,
    }),
  ).toBe(
    '95d92b63722e6261636b656e642e61692f737461626c652f707974686f6e3a332e392d7562756e747532302e3034a9692d6167656e743031cb41d954fc40200000c0c0',
  );
});

test('stream fields stand in the order of the original, the source is the agent', () => {
  const encoded = encoder25.encode(AGENT, { name: 'agent_started', reason: 'self-started' });
  expect(
    encoded?.anycast?.map(([name, value]) => (name === 'args' ? name : `${name}=${value.toString()}`)),
  ).toEqual(['name=agent_started', 'source=i-agent01', 'args', 'metadata={"request_id":null,"user":null}']);
  expect(encoded?.broadcast).toBeNull();
});

test('a broadcast is compact JSON of texts with the same arguments in base64', () => {
  const event: AgentEvent = { name: 'kernel_preparing', kernelId: KERNEL, sessionId: SESSION, reason: '' };
  const encoded = encoder25.encode(AGENT, event);
  expect(JSON.parse(encoded?.broadcast ?? '')).toEqual({
    name: 'kernel_preparing',
    source: AGENT,
    args: Buffer.from(argsHex(event), 'hex').toString('base64'),
    metadata: '{"request_id":null,"user":null}',
  });
});

test('the state of a background task is kept under its id', () => {
  const taskId = '33333333-3333-4333-8333-333333333333';
  const encoded = encoder25.encode(AGENT, { name: 'bgtask_done', taskId, message: null });
  expect(encoded).toMatchObject({ anycast: null, cacheKey: `bgtask.${taskId}` });
});

test('a heartbeat carries the same values as the appendix', () => {
  const [info] = argsFor25({ name: 'agent_heartbeat', info: INFO }, AGENT, codec) ?? [];
  expect([...(info as Map<string, unknown>).keys()]).toEqual([
    'ip',
    'region',
    'scaling_group',
    'addr',
    'public_key',
    'public_host',
    'available_resource_slots',
    'slot_key_and_units',
    'version',
    'compute_plugins',
    'images',
    'images_opts',
    'architecture',
    'auto_terminate_abusing_kernel',
  ]);
  expect(Buffer.from((info as Map<string, Uint8Array>).get('images') ?? [])).toEqual(
    Buffer.from('789c9b000000910091', 'hex'),
  );
  const decoded = codec.unpack(Buffer.from(argsHex({ name: 'agent_heartbeat', info: INFO }), 'hex'));
  expect(String((decoded as [Record<string, unknown>])[0]['available_resource_slots'])).toBe(
    'cpu=8,mem=17179869184',
  );
});

describe('vectors of the appendix', () => {
  const HEARTBEAT = [
    '918ea26970a831302e302e302e31a6726567696f6ea56c6f63616cad7363616c696e675f67726f7570a764656661756c74',
    'a461646472b37463703a2f2f31302e302e302e313a36303031aa7075626c69635f6b6579c0ab7075626c69635f686f7374',
    'a831302e302e302e31b8617661696c61626c655f7265736f757263655f736c6f7473c7540880026361692e6261636b656e',
    '642e636f6d6d6f6e2e74797065730a5265736f75726365536c6f740a7d28580300000063707558010000003858030000006d',
    '656d580b00000031373137393836393138347585522eb2736c6f745f6b65795f616e645f756e69747382c72f098002636169',
    '2e6261636b656e642e636f6d6d6f6e2e74797065730a536c6f744e616d650a580300000063707585522ea5636f756e74c72f',
    '0980026361692e6261636b656e642e636f6d6d6f6e2e74797065730a536c6f744e616d650a58030000006d656d85522ea562',
    '79746573a776657273696f6ea732352e31372e30af636f6d707574655f706c7567696e7382a363707581a776657273696f6e',
    'a732352e31372e30a36d656d81a776657273696f6ea732352e31372e30a6696d61676573c409789c9b000000910091ab696d',
    '616765735f6f70747381ab636f6d7072657373696f6ea47a6c6962ac617263686974656374757265a67838365f3634bd6175',
    '746f5f7465726d696e6174655f61627573696e675f6b65726e656cc2',
  ].join('');
  const SLOTS =
    '80026361692e6261636b656e642e636f6d6d6f6e2e74797065730a5265736f75726365536c6f740a7d28580300000063707558010000003858030000006d656d580b00000031373137393836393138347585522e';
  const CPU =
    '80026361692e6261636b656e642e636f6d6d6f6e2e74797065730a536c6f744e616d650a580300000063707585522e';

  const packed = (value: unknown) => Buffer.from(codec.pack(value)).toString('hex');
  const memPickle = CPU.replace('5803000000637075', '58030000006d656d');

  test('the heartbeat is made byte for byte, but for the pickles, which have the form of the original', () => {
    expect(HEARTBEAT).toHaveLength(2 * 525);
    // ext 8 of 84 bytes, ext 9 of 47.
    const expected = [
      [`c75408${SLOTS}`, packed(ResourceSlot.from({ cpu: '8', mem: '17179869184' }))],
      [`c72f09${CPU}`, packed(new SlotName('cpu'))],
      [`c72f09${memPickle}`, packed(new SlotName('mem'))],
    ].reduce((hex, [minimal = '', ours = '']) => {
      expect(hex.split(minimal)).toHaveLength(2);
      return hex.replace(minimal, ours);
    }, HEARTBEAT);
    expect(argsHex({ name: 'agent_heartbeat', info: INFO })).toBe(expected);
  });

  test('the minimal pickles hold what ours hold', () => {
    expect(readMinimalPickle(SLOTS)).toEqual([
      'ai.backend.common.types.ResourceSlot',
      { cpu: '8', mem: '17179869184' },
    ]);
    expect(readMinimalPickle(CPU)).toEqual(['ai.backend.common.types.SlotName', 'cpu']);
    const again = (value: unknown) => codec.unpack(codec.pack(value));
    const slots = ResourceSlot.from({ cpu: '8', mem: '17179869184' });
    expect(again(slots)).toEqual(slots);
    expect(String(again(slots))).toBe('cpu=8,mem=17179869184');
    expect(again(new SlotName('cpu'))).toEqual(new SlotName('cpu'));
  });

  test('what is no event of ours is read in the form of the original only', () => {
    expect(() => codec.unpack(Buffer.from(`c72f09${CPU}`, 'hex'))).toThrow('pickle protocol 2');
  });
});

/** Of the appendix: one class called with one text, or with one map of texts. */
function readMinimalPickle(hex: string): readonly [className: string, argument: unknown] {
  const bytes = Buffer.from(hex, 'hex');
  let at = 3;
  const text = () => {
    const length = bytes.readUInt32LE(at + 1);
    at += 5 + length;
    return bytes.toString('utf8', at - length, at);
  };
  const line = () => {
    const end = bytes.indexOf('\n', at);
    const found = bytes.toString('utf8', at, end);
    at = end + 1;
    return found;
  };
  expect(bytes.subarray(0, 3).toString('latin1')).toBe('\x80\x02c');
  const className = `${line()}.${line()}`;
  let argument: unknown;
  if (bytes[at] === 0x7d) {
    at += 2;
    const pairs: [string, string][] = [];
    while (bytes[at] === 0x58) pairs.push([text(), text()]);
    at += 1;
    argument = Object.fromEntries(pairs);
  } else argument = text();
  expect(bytes.subarray(at).toString('latin1')).toBe('\x85R.');
  return [className, argument];
}

test('a started kernel has integer ports, no internal services and decimal texts', () => {
  const event: AgentEvent = {
    name: 'kernel_started',
    kernelId: KERNEL,
    sessionId: SESSION,
    reason: '',
    creation: CREATION,
  };
  const [, , , info] = argsFor25(event, AGENT, codec) ?? [];
  expect(info).toMatchObject({
    stdin_port: 0,
    stdout_port: 0,
    repl_in_port: 30_000,
    service_ports: [{ name: 'sshd', host_ports: [30_002] }],
    resource_spec: { allocations: { mem: { mem: { root: '1073741824' } } } },
    attached_devices: { mem: [{ device_id: 'root', data: { mem: 1_073_741_824n } }] },
  });
});

describe('26.x', () => {
  const payload = (event: AgentEvent): unknown => {
    const field = encoder26.encode(AGENT, event)?.anycast?.find(([name]) => name === 'payload');
    return JSON.parse(field?.[1].toString() ?? 'null');
  };

  test('a started kernel tells what it uses of each device', () => {
    expect(
      payload({
        name: 'kernel_started',
        kernelId: KERNEL,
        sessionId: SESSION,
        reason: '',
        creation: CREATION,
      }),
    ).toMatchObject({
      creation_info: {
        used_devices: {
          units: {
            cpu: { '0': { model_name: 'a cpu', used: { cpu: '1' }, processing_units: 1, memory_size: null } },
            mem: { root: { used: { mem: '1073741824' }, memory_size: 1_073_741_824 } },
          },
        },
      },
    });
  });

  test('a reason that those managers do not know becomes one they know', () => {
    const terminated = {
      name: 'kernel_terminated',
      kernelId: KERNEL,
      sessionId: SESSION,
      exitCode: 0,
    } as const;
    expect(payload({ ...terminated, reason: 'PENDING by the operator' })).toMatchObject({
      reason: 'unknown',
    });
    expect(payload({ ...terminated, reason: 'user-requested' })).toMatchObject({ reason: 'user-requested' });
    expect(payload({ ...terminated, reason: 'preempted-by-scheduler' })).toMatchObject({
      reason: 'preempted-by-scheduler',
    });
  });

  test('slots are a plain list', () => {
    expect(payload({ name: 'agent_heartbeat', info: INFO })).toMatchObject({
      agent_info: {
        available_resource_slots: [
          { resource_type: 'cpu', quantity: '8' },
          { resource_type: 'mem', quantity: '17179869184' },
        ],
      },
    });
  });

  test('events of the past are not sent', () => {
    expect(
      encoder26.encode(AGENT, { name: 'agent_status_heartbeat', containers: [], kernels: [] }),
    ).toBeNull();
  });
});

test('every event that tells of a kernel or a task is a lifecycle event', () => {
  const lifecycle = Object.entries(EVENT_KINDS).filter(([, kind]) => kind.importance === 'lifecycle');
  expect(lifecycle.map(([name]) => name).filter((name) => name.startsWith('kernel_'))).toHaveLength(5);
});

test('a status heartbeat pairs kernels with containers', () => {
  const containerId = asContainerId('c1');
  const args = argsFor25(
    {
      name: 'agent_status_heartbeat',
      containers: [{ containerId, kernelId: KERNEL, status: 'running' }],
      kernels: [{ kernelId: KERNEL, containerId: null }],
    },
    AGENT,
    codec,
  );
  expect(args).toEqual([
    AGENT,
    [{ container_id: 'c1', kernel_id: KERNEL, status: 'running' }],
    [[KERNEL, null]],
  ]);
});
