import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from '../../../src/callosum/index.js';
import type { AgentClient } from '../../../src/client/agent-client.js';
import type { RunEvent } from '../../../src/client/run.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';

const PYTHON = { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' };
const SMALL = { cpu: '1', mem: '67108864' };

let daemon: TestDaemon;
const clients: AgentClient[] = [];
const client = (agentId: string | null): AgentClient => {
  const made = daemon.client(agentId);
  clients.push(made);
  return made;
};

beforeAll(async () => {
  daemon = await TestDaemon.start();
}, 90_000);
afterAll(async () => {
  await Promise.all(clients.map((made) => made.close()));
  await daemon.dispose();
}, 90_000);

async function run(
  on: AgentClient,
  kernel: { readonly kernelId: string; readonly sessionId: string },
  code: string,
  answer?: string,
): Promise<{ readonly output: string; readonly errors: string; readonly exitCode: number | null }> {
  const events: RunEvent[] = [];
  const request = {
    ...kernel,
    code,
    ...(answer === undefined ? {} : { onInput: () => Promise.resolve(answer) }),
  };
  for await (const event of on.run(request)) events.push(event);
  const textOf = (type: 'stdout' | 'stderr') =>
    events.map((event) => (event.type === type ? event.text : '')).join('');
  const end = events.at(-1);
  return {
    output: textOf('stdout'),
    errors: textOf('stderr'),
    exitCode: end?.type === 'end' ? end.exitCode : null,
  };
}

test('a kernel on each agent runs code, asks, fails, and keeps its state; destroying one leaves the other', async () => {
  const one = client('i-one');
  const two = client('i-two');
  const first = await one.createKernel({ image: 'local/python:3', labels: PYTHON, resourceSlots: SMALL });
  const second = await two.createKernel({ image: 'local/python:3', labels: PYTHON, resourceSlots: SMALL });

  expect((await run(one, first, 'x = 41\nprint("hello")')).output).toBe('hello\n');
  expect((await run(one, first, 'print(x + 1)')).output).toBe('42\n');
  expect((await run(one, first, 'print("you are", input("name? "))', 'Ada')).output).toContain('you are Ada');
  expect((await run(one, first, 'raise ValueError("no")')).errors).toContain('ValueError: no');

  await one.uploadFile(first.kernelId, 'notes/a.txt', Buffer.from('content'));
  expect(Buffer.from(await one.downloadFile(first.kernelId, 'notes/a.txt')).toString()).toBe('content');
  const listing = await one.call('list_files', { kernel_id: first.kernelId, path: 'notes' });
  expect(JSON.parse(listing.files)).toMatchObject([{ filename: 'a.txt', size: 7 }]);

  const all = await client(null).listKernels();
  expect(all.map(({ agent_id, kernel_id }) => [agent_id, kernel_id])).toEqual([
    ['i-one', first.kernelId],
    ['i-two', second.kernelId],
  ]);
  expect(await client(null).describeKernel(second.kernelId)).toMatchObject({
    agent_id: 'i-two',
    state: 'running',
  });

  await one.destroyKernel(first);
  expect((await run(two, second, 'print("still here")')).output).toBe('still here\n');
  await two.destroyKernel(second);
  expect(await client(null).listKernels()).toEqual([]);
  const examined = await client(null).call('examine', {});
  expect(examined.every(({ ok }) => ok)).toBe(true);
  await expect(stat(join(daemon.scratchRoot, first.kernelId))).rejects.toMatchObject({ code: 'ENOENT' });
}, 120_000);

test('creation is idempotent by kernel id', async () => {
  const one = client('i-one');
  const kernel = await one.createKernel({ image: 'local/python:3', labels: PYTHON, resourceSlots: SMALL });
  const again = await one.createKernel({
    image: 'local/python:3',
    labels: PYTHON,
    resourceSlots: SMALL,
    kernelId: kernel.kernelId,
    sessionId: kernel.sessionId,
  });
  expect(again.result).toEqual(kernel.result);
  expect(await one.listKernels()).toHaveLength(1);
  await one.destroyKernel(kernel);
}, 120_000);

test.each([
  ['more cores than there are', { resourceSlots: { cpu: '4096', mem: '67108864' } }, 'InsufficientResource'],
  ['a slot nobody has', { resourceSlots: { ...SMALL, 'tpu.device': '1' } }, 'UnsupportedResource'],
  ['an image of another machine', { architecture: 'aarch64' }, 'AgentError'],
])(
  '%s is refused by name and leaves nothing behind',
  async (_title, wish, remoteName) => {
    const one = client('i-one');
    await expect(
      one.createKernel({ image: 'local/python:3', labels: PYTHON, resourceSlots: SMALL, ...wish }),
    ).rejects.toMatchObject({ remoteName });
    expect(await one.listKernels()).toEqual([]);
    const [usage] = await one.call('describe_resources', { agent_id: 'i-one' });
    expect(Object.values(usage?.slots ?? {}).map(({ allocated }) => allocated)).toEqual(['0', '0']);
  },
  60_000,
);

test('a key that nobody accepted does not get in', async () => {
  const stranger = daemon.client(null, generateKeyPair());
  clients.push(stranger);
  await expect(stranger.ping()).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
}, 60_000);

test('a kernel whose processes die ends with a reason, at once', async () => {
  const one = client('i-one');
  const kernel = await one.createKernel({ image: 'local/python:3', labels: PYTHON, resourceSlots: SMALL });
  await run(one, kernel, 'import os, signal; os.kill(os.getppid(), signal.SIGKILL)').catch(() => undefined);
  await eventually(async () => {
    expect(await one.listKernels()).toEqual([]);
  });
}, 60_000);

test('the group of one agent is written to its place in the file, comments kept', async () => {
  await client('i-two').call('update_scaling_group', { scaling_group: 'gpu' });
  const text = await readFile(daemon.configPath, 'utf8');
  expect(text).toMatch(/id = "i-two"[\s\S]*scaling-group = "gpu"/);
  expect(text.match(/gpu/g)).toHaveLength(1);
});

test('a second daemon on the same state is refused, the first goes on', async () => {
  const second = await TestDaemon.prepare();
  const text = await readFile(second.configPath, 'utf8');
  await writeFile(second.configPath, text.replaceAll(second.stateDirectory, daemon.stateDirectory));
  await expect(second.resume()).rejects.toThrow(/STATE_DIRECTORY_IN_USE/);
  await second.dispose();
  expect(await client(null).ping('still')).toBe('still');
}, 60_000);

test('SIGTERM ends it with 0, kernels go on, and the next start finds them', async () => {
  const own = await TestDaemon.start({ agentIds: ['i-alone'], curve: false });
  try {
    const before = own.client();
    const kernel = await before.createKernel({
      image: 'local/python:3',
      labels: PYTHON,
      resourceSlots: SMALL,
    });
    await run(before, kernel, 'kept = "yes"');
    await before.close();
    expect(await own.stop()).toBe(0);
    await own.resume();
    const after = own.client();
    expect((await run(after, kernel, 'print(kept)')).output).toBe('yes\n');
    await after.destroyKernel(kernel);
    await after.close();
    expect(await own.kernelProcesses()).toEqual([]);
  } finally {
    await own.dispose();
  }
}, 120_000);
