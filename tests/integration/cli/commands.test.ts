import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair, writeKeyFiles } from '../../../src/callosum/index.js';
import type { AgentClient, CreatedKernel } from '../../../src/client/agent-client.js';
import { type CommandResult, runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';

const SHELL = { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' };
const SMALL = { cpu: '1', mem: '67108864' };

let daemon: TestDaemon;
let one: AgentClient;
let kernel: CreatedKernel;

beforeAll(async () => {
  daemon = await TestDaemon.start();
  one = daemon.client('i-one');
  kernel = await one.createKernel({ image: 'local/shell:1', labels: SHELL, resourceSlots: SMALL });
}, 120_000);
afterAll(async () => {
  await one.close();
  await daemon.dispose();
}, 90_000);

/** As the operator of this machine: the daemon is found by its configuration. */
const local = (...argv: readonly string[]): Promise<CommandResult> =>
  runCommand([...argv, '--config', daemon.configPath], { cwd: daemon.directory });
const json = ({ exitCode, out, err }: CommandResult): unknown => {
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
  return JSON.parse(out) as unknown;
};

test('ps lists the kernels of all agents, or of one', async () => {
  const { exitCode, out } = await local('ps');
  expect(exitCode).toBe(0);
  const [header, row, ...more] = out.split('\n');
  expect(header).toMatch(/^AGENT +KERNEL +STATE +TYPE +IMAGE +RESOURCES$/);
  expect(row).toMatch(
    new RegExp(`^i-one +${kernel.kernelId} +running +interactive +local/shell:1 +cpu=1 mem=67108864$`),
  );
  expect(more).toEqual([]);
  expect((await local('ps', '--agent', 'i-two')).out.split('\n')).toHaveLength(1);
  expect(json(await local('ps', '--json'))).toMatchObject([
    { agent_id: 'i-one', kernel_id: kernel.kernelId, resource_slots: SMALL },
  ]);
  expect(json(await local('ps', '--json', '-a', 'i-two'))).toEqual([]);
});

test('resources shows what is taken, by whom, and what is free', async () => {
  const { exitCode, out } = await local('resources');
  expect(exitCode).toBe(0);
  expect(out).toMatch(/^agent i-one$/m);
  expect(out).toMatch(/^agent i-two$/m);
  expect(out).toMatch(/^ {2}SLOT +CAPACITY +RESERVED +ALLOCATED +BY SIBLINGS +FREE$/m);
  expect(out).toMatch(new RegExp(`^ {2}${kernel.kernelId} +cpu=1 mem=67108864$`, 'm'));
  const [mine, sibling] = json(await local('resources', '--json')) as {
    slots: Record<string, { allocated: string; allocated_by_siblings: string }>;
  }[];
  expect(mine?.slots['mem']).toMatchObject({ allocated: '67108864', allocated_by_siblings: '0' });
  expect(sibling?.slots['mem']).toMatchObject({ allocated: '0', allocated_by_siblings: '67108864' });
});

test('doctor finds nothing wrong', async () => {
  const { exitCode, out } = await local('doctor');
  expect(exitCode).toBe(0);
  const lines = out.split('\n');
  expect(lines.length).toBeGreaterThanOrEqual(3);
  for (const line of lines) expect(line).toMatch(/^ok {4}/);
  expect(json(await local('doctor', '--json'))).toHaveLength(lines.length);
});

test('call prints text as it is, and JSON on request', async () => {
  expect(await local('call', 'ping', 'msg=hello there')).toMatchObject({ exitCode: 0, out: 'hello there' });
  expect(await local('call', 'ping', 'msg=hello there', '--json')).toMatchObject({ out: '"hello there"' });
  expect(await local('call', 'ping', 'msg={"a": [1, true, null]}', '--json')).toMatchObject({
    out: '{"a":[1,true,null]}',
  });
  expect((await local('call', 'ping', 'msg=[1]')).out).toBe('[\n  1\n]');
});

test('call goes to the agent that is named, or to the default agent', async () => {
  const running = ['call', 'check_running', `kernel_id=${kernel.kernelId}`, '--json'];
  expect((await local(...running)).out).toBe('true');
  expect((await local(...running, '--agent', 'i-one')).out).toBe('true');
  expect((await local(...running, '--agent', 'i-two')).out).toBe('false');
});

test('call prints binary data as base64', async () => {
  await one.uploadFile(kernel.kernelId, 'a.bin', Buffer.from([0, 255]));
  const { out } = await local(
    'call',
    'download_single',
    `kernel_id=${kernel.kernelId}`,
    'filepath=a.bin',
    '--json',
  );
  expect(out).toBe('"AP8="');
});

test.each([
  [
    'an agent that is not there',
    ['ps', '-a', 'i-three'],
    /^REMOTE_FAILURE: list_kernels: <AgentIdNotFoundError/,
  ],
  ['a missing argument', ['call', 'check_running'], /kernel_id/],
  [
    'an argument that cannot be read',
    ['call', 'check_running', 'kernel_id=not-a-uuid'],
    /badly formed hexadecimal UUID string/,
  ],
])('%s: 1, and nothing on standard output', async (_title, argv, complaint) => {
  const { exitCode, out, err } = await local(...argv);
  expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
  expect(err).toMatch(complaint);
});

test('an interrupted command cancels its call and ends with 1', async () => {
  const interrupted = new AbortController();
  interrupted.abort(new Error('received SIGINT'));
  const { exitCode, err } = await runCommand(['call', 'ping', 'msg=a', '--config', daemon.configPath], {
    cwd: daemon.directory,
    signal: interrupted.signal,
  });
  expect(exitCode).toBe(1);
  expect(err).toMatch(/^CANCELLED: /);
});

describe('from another machine', () => {
  let keys: string;
  beforeAll(async () => {
    keys = await mkdtemp(join(tmpdir(), 'splenium-cli-keys-'));
  });
  afterAll(async () => {
    await rm(keys, { recursive: true });
  });
  const remote = (clientKey: string, ...argv: readonly string[]): Promise<CommandResult> =>
    runCommand([
      ...argv,
      ...['--address', daemon.address],
      ...['--server-key', join(daemon.directory, 'keys/agent.key'), '--client-key', clientKey],
    ]);

  test('with the keys of a manager', async () => {
    const manager = join(daemon.directory, 'keys/manager.key_secret');
    expect(await remote(manager, 'call', 'ping', 'msg=far')).toMatchObject({ exitCode: 0, out: 'far' });
  });

  test('with a key that nobody accepted: 1, the reason, and no key in sight', async () => {
    const { secretFile } = await writeKeyFiles(keys, 'stranger', generateKeyPair());
    const { exitCode, out, err } = await remote(secretFile, 'ps');
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(err).toMatch(/^HANDSHAKE_FAILED: /);
    const secret = /secret-key = "(.*)"/.exec(await readFile(secretFile, 'utf8'))?.[1];
    expect(err).not.toContain(secret);
  });
});

test('no secret of the daemon has reached its log or its endpoint file', async () => {
  const files = ['keys/agent.key_secret', 'keys/manager.key_secret', 'state/keys/operator.key_secret'];
  const endpoint = await readFile(join(daemon.stateDirectory, 'endpoint.json'), 'utf8');
  for (const file of files) {
    const secret = /secret-key = "(.*)"/.exec(await readFile(join(daemon.directory, file), 'utf8'))?.[1];
    expect(secret).toHaveLength(40);
    expect(daemon.log).not.toContain(secret);
    expect(endpoint).not.toContain(secret);
  }
});

test('the state directory finds it as well as the configuration; after its end nobody does', async () => {
  const own = await TestDaemon.start({ agentIds: ['i-alone'], curve: false });
  try {
    const ps = ['ps', '--state-dir', own.stateDirectory];
    expect((await runCommand(ps)).exitCode).toBe(0);
    await own.stop();
    const gone = await runCommand(ps);
    expect(gone.exitCode).toBe(1);
    expect(gone.err).toMatch(/^LOCAL_DAEMON_NOT_FOUND: /);
    // As it stands after a crash.
    await writeFile(
      join(own.stateDirectory, 'endpoint.json'),
      JSON.stringify({
        version: 1,
        pid: 2 ** 22 + 1,
        rpcAddress: own.address,
        serverPublicKey: null,
        httpUrl: null,
      }),
    );
    expect((await runCommand(ps)).err).toContain('is gone without a goodbye');
  } finally {
    await own.dispose();
  }
}, 90_000);
