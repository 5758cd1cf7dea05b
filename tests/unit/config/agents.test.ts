import type { DaemonConfig } from '../../../src/config/index.js';
import { MINIMAL, load, problemsOf } from './config-file.js';

/** Two entries, each followed by its own lines. */
const two = (first: string, second: string, shared = ''): string => `${MINIMAL}${shared}
[[agents]]
[agents.agent]
id = "i-one"
${first}
[[agents]]
[agents.agent]
id = "i-two"
${second}
`;
const RANGE = '[agents.container]\nport-range = [40000, 40100]';
const MANUAL = '[resource]\nallocation-mode = "manual"';

async function agentsOf(text: string, env: Record<string, string> = {}): Promise<DaemonConfig['agents']> {
  return (await load(text, { env })).config.agents;
}

describe('what an entry overrides', () => {
  test('exactly the keys it writes; defaults never come in between', async () => {
    const [one, two_] = await agentsOf(
      two(
        'kernel-creation-concurrency = 2\n[agents.container]\nscratch-root = "/one"',
        'force-terminate-abusing-containers = true',
        'kernel-creation-concurrency = 7\nscaling-group = "gpu"\n[container]\nscratch-root = "/shared"\nkernel-uid = 1000',
      ),
    );
    expect(one).toMatchObject({
      kernelCreationConcurrency: 2,
      scalingGroup: 'gpu',
      scratchRoot: '/one',
      kernelUid: 1000,
      forceTerminateAbusingContainers: false,
    });
    expect(two_).toMatchObject({
      kernelCreationConcurrency: 7,
      scalingGroup: 'gpu',
      scratchRoot: '/shared',
      kernelUid: 1000,
      forceTerminateAbusingContainers: true,
    });
  });

  test('an empty container table inherits everything', async () => {
    const [one] = await agentsOf(two('[agents.container]', RANGE, '[container]\nscratch-root = "/s"'));
    expect(one).toMatchObject({ scratchRoot: '/s', portRange: { first: 30_000, last: 31_000 } });
  });

  test('a nested table is replaced as a whole', async () => {
    const [one, other] = await agentsOf(
      two(
        '[agents.agent.sync-container-lifecycles]\ninterval = 3',
        RANGE,
        '[agent.sync-container-lifecycles]\nenabled = false\ninterval = 9',
      ),
    );
    expect(one?.syncContainerLifecycles).toEqual({ enabled: true, intervalMs: 3000 });
    expect(other?.syncContainerLifecycles).toEqual({ enabled: false, intervalMs: 9000 });
  });

  test('a variable stands for what agents inherit, not for what one sets itself', async () => {
    const [one, other] = await agentsOf(
      two('[agents.container]\nscratch-root = "/one"', 'agent-sock-port = 6100'),
      {
        BACKEND_SCRATCH_ROOT: '/env',
      },
    );
    expect([one?.scratchRoot, other?.scratchRoot]).toEqual(['/one', '/env']);
  });

  test('what cannot be set for one agent is ignored with a warning', async () => {
    const { config, warnings } = await load(
      two(
        'region = "moon"\n[agents.container]\nbind-host = "10.9.9.9"',
        `${RANGE}\n[agents.debug]\nenabled = true`,
      ),
    );
    expect([config.region, config.agents[0]?.bindHost]).toEqual([null, '']);
    expect(warnings.map(({ key, message }) => `${key}: ${message}`)).toEqual([
      'agents[0].agent.region: cannot be set for one agent; ignored here',
      'agents[0].container.bind-host: cannot be set for one agent; ignored here',
      'agents[1].debug: cannot be set for one agent; ignored here',
    ]);
  });

  test('a value that only one entry writes is complained about once, where it stands', async () => {
    expect(await problemsOf(two('kernel-creation-concurrency = 99', RANGE))).toEqual([
      '8:31 agents[0].agent.kernel-creation-concurrency: expected an integer from 1 to 32, but given 99',
    ]);
  });

  test('a value that all inherit is complained about once', async () => {
    expect(await problemsOf(two('', RANGE, 'kernel-creation-concurrency = 99'))).toEqual([
      expect.stringContaining('agent.kernel-creation-concurrency'),
    ]);
  });
});

describe('how many, and which', () => {
  test('an empty list is single-agent mode', async () => {
    expect(await agentsOf(`agents = []\n${MINIMAL}`)).toHaveLength(1);
  });
  test('three agents share one range in equal parts', async () => {
    const agents = await agentsOf(`${two('', '')}[[agents]]\n[agents.agent]\nid = "i-three"\n`);
    expect(agents.map(({ portRange }) => portRange)).toEqual([
      { first: 30_000, last: 30_333 },
      { first: 30_334, last: 30_667 },
      { first: 30_668, last: 31_000 },
    ]);
    expect(agents.map(({ agentSockPort }) => agentSockPort)).toEqual([6007, 6008, 6009]);
  });
  test('those that inherit share the range beside one that has its own', async () => {
    const agents = await agentsOf(`${two('', RANGE)}[[agents]]\n[agents.agent]\nid = "i-three"\n`);
    expect(agents.map(({ portRange }) => portRange)).toEqual([
      { first: 30_000, last: 30_500 },
      { first: 40_000, last: 40_100 },
      { first: 30_501, last: 31_000 },
    ]);
  });
  test.each<[string, string, RegExp]>([
    [
      'a range too small for all',
      two('', '', '[container]\nport-range = [30000, 30000]'),
      /too small for 2 agents/,
    ],
    [
      'one socket port for two',
      two('agent-sock-port = 6100', `agent-sock-port = 6100\n${RANGE}`),
      /agents\[1\]\.agent\.agent-sock-port: 6100 of i-two is also the port of i-one/,
    ],
    ['no list of tables', `agents = 1\n${MINIMAL}`, /agents: expected an array of tables/],
    ['an entry that is no table', `agents = [1, 2]\n${MINIMAL}`, /agents: expected an array of tables/],
    [
      'an empty entry',
      `${two('', RANGE)}[[agents]]\n`,
      /agents\[2\]\.agent\.id: each of several agents needs/,
    ],
    [
      'a table that is none',
      two('', RANGE).replace(
        '[agents.container]',
        'x = 1\n[agents.agent.utilization-metric]\nnode = 1\n[agents.container]',
      ),
      /agents\[1\]\.agent\.utilization-metric\.node: expected a table/,
    ],
  ])('%s is refused', async (_name, text, expected) => {
    expect(await problemsOf(text)).toEqual([expect.stringMatching(expected)]);
  });
});

describe('manual allocations', () => {
  const resource = (lines: string): string => `[agents.resource]\n${lines}`;

  test('amounts and device ids of each agent', async () => {
    const [one, other] = await agentsOf(
      two(
        resource('cpu = [0, 1, 2]\nmem = "8G"\ndevices = { cuda = ["0", "1"], "rngd.device" = "1.50" }'),
        `${RANGE}\n${resource('cpu = 4\nmem = "4G"\ndevices = { cuda = ["2"], "rngd.device" = 2 }')}`,
        MANUAL,
      ),
    );
    expect(one?.allocations).toEqual({
      cpu: 3,
      memBytes: 8_589_934_592,
      devices: { 'rngd.device': '1.5' },
      deviceIds: { cpu: ['0', '1', '2'], cuda: ['0', '1'] },
    });
    expect(other?.allocations).toEqual({
      cpu: 4,
      memBytes: 4_294_967_296,
      devices: { 'rngd.device': '2' },
      deviceIds: { cuda: ['2'] },
    });
  });

  test('an entry is merged over the shared allocations key by key', async () => {
    const agents = await agentsOf(
      two(
        resource('cpu = 1\nmem = "1G"'),
        RANGE,
        `${MANUAL}\nallocations = { cpu = 2, mem = "2G", devices = { "cuda.device" = 1 } }`,
      ),
    );
    expect(agents.map(({ allocations }) => allocations)).toEqual([
      { cpu: 1, memBytes: 1_073_741_824, devices: { 'cuda.device': '1' }, deviceIds: {} },
      { cpu: 2, memBytes: 2_147_483_648, devices: { 'cuda.device': '1' }, deviceIds: {} },
    ]);
  });

  const BOTH = resource('cpu = 1\nmem = "1G"');
  test.each<[string, string, RegExp]>([
    ['one agent without any', two(BOTH, RANGE, MANUAL), /On MANUAL mode.*; agent i-two has none/],
    [
      'allocations of one agent in another mode',
      two(BOTH, RANGE, '[resource]\nallocation-mode = "auto-split"'),
      /agents\[0\]\.resource: On non-MANUAL mode/,
    ],
    [
      'memory left out',
      two(resource('cpu = 1'), `${RANGE}\n${BOTH}`, MANUAL),
      /agents\[0\]\.resource\.mem: required/,
    ],
    [
      'different slots',
      two(`${BOTH}\ndevices = { "cuda.shares" = 1 }`, `${RANGE}\n${BOTH}`, MANUAL),
      /All agents must have the same slots defined in the devices! Here: none; first agent: cuda\.shares/,
    ],
    [
      'a negative amount',
      two(
        `${BOTH}\ndevices = { "cuda.shares" = -1 }`,
        `${RANGE}\n${BOTH}\ndevices = { "cuda.shares" = 1 }`,
        MANUAL,
      ),
      /agents\[0\]\.resource\.devices: cuda\.shares: All allocated device resource values must not be/,
    ],
    [
      'one device of two agents',
      two(`${BOTH}\ndevices = { cuda = ["0", "1"] }`, `${RANGE}\n${BOTH}\ndevices = { cuda = [1] }`, MANUAL),
      /agents\[1\]\.resource\.devices: cuda device "1" is claimed twice: also by agent i-one/,
    ],
    [
      'one core of two agents',
      two(resource('cpu = [0]\nmem = 1'), `${RANGE}\n${resource('cpu = [0, 1]\nmem = 1')}`, MANUAL),
      /agents\[1\]\.resource\.cpu: cpu device "0" is claimed twice/,
    ],
    [
      'one device twice of one agent',
      two(`${BOTH}\ndevices = { cuda = ["0", "0"] }`, `${RANGE}\n${BOTH}\ndevices = { cuda = [] }`, MANUAL),
      /device id "0" stands twice/,
    ],
  ])('%s is refused', async (_name, text, expected) => {
    expect(await problemsOf(text)).toEqual([expect.stringMatching(expected)]);
  });
  test('an empty table lacks both', async () => {
    expect(await problemsOf(two('[agents.resource]', `${RANGE}\n${BOTH}`, MANUAL))).toEqual([
      expect.stringContaining('agents[0].resource.cpu: required'),
      expect.stringContaining('agents[0].resource.mem: required'),
    ]);
  });
});
