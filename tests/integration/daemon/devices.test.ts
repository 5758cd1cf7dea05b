import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { TestDaemon } from '../../support/daemon.js';

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));
const AGENTS = ['i-a', 'i-b', 'i-c'];
const MOCK = `
[splenium.devices.mock]
key = "npu"
devices = [
  ${[0, 1, 2, 3, 4].map((id) => `{ id = ${String(id)}, model = "Mock ${String(id)}", "memory-bytes" = 1073741824 }`).join(',\n  ')},
]
`;
/** Three agents want a core each, also on a machine that has one. */
const ENV = { BACKEND_CPU_OVERCOMMIT_FACTOR: '3' };
const PYTHON = { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' };
const LOOK = `
import json, os
names = ("BACKENDAI_MOCK_NPU_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GPU_COUNT", "N_GPUS", "GPU_TYPE", "GPU_MODEL_NAME")
print(json.dumps({"cores": sorted(os.sched_getaffinity(0)), "env": {name: os.environ.get(name) for name in names}}))
`;
const lookSchema = z.object({
  cores: z.array(z.number()),
  env: z.record(z.string(), z.string().nullable()),
});

let daemon: TestDaemon | undefined;
const clients: AgentClient[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await daemon?.dispose();
}, 90_000);

/** A daemon whose file is changed before it starts. */
async function prepare(change: (text: string) => string): Promise<TestDaemon> {
  daemon = await TestDaemon.prepare({ agentIds: AGENTS, toml: MOCK, env: ENV, curve: false });
  await writeFile(daemon.configPath, change(await readFile(daemon.configPath, 'utf8')));
  return daemon;
}

async function start(change: (text: string) => string): Promise<(agentId: string) => AgentClient> {
  const started = await prepare(change);
  await started.resume();
  return (agentId) => {
    const client = started.client(agentId);
    clients.push(client);
    return client;
  };
}

const mode = (text: string, name: string) =>
  text.replace('[resource]', `[resource]\nallocation-mode = "${name}"`);

const manual = (text: string, shares: Readonly<Record<string, readonly string[]>>) =>
  Object.entries(shares).reduce(
    (changed, [agentId, ids]) =>
      changed.replace(
        `id = "${agentId}"\n`,
        `id = "${agentId}"\n[agents.resource]\ncpu = 1\nmem = "256M"\ndevices = { npu = ${JSON.stringify(ids)} }\n`,
      ),
    mode(text, 'manual'),
  );

const createOn = (client: AgentClient, devices: number) =>
  client.createKernel({
    image: 'local/python:3',
    labels: PYTHON,
    resourceSlots: { cpu: '1', mem: '67108864', 'npu.device': String(devices) },
  });

async function look(client: AgentClient, kernel: Awaited<ReturnType<typeof createOn>>) {
  let output = '';
  for await (const event of client.run({ ...kernel, code: LOOK }))
    if (event.type === 'stdout') output += event.text;
  return lookSchema.parse(JSON.parse(output));
}

/** What `describe_resources` says of the mock devices, agent by agent. */
async function sharesOf(client: AgentClient): Promise<Record<string, readonly string[]>> {
  const described = await client.call('describe_resources', { agent_id: null });
  return Object.fromEntries(
    described.map(({ agent_id: id, devices }) => [id, Object.keys(devices['npu'] ?? {})]),
  );
}

test('auto-split: five devices on three agents are two, two and one, and nobody gets more than its own', async () => {
  const on = await start((text) => mode(text, 'auto-split'));
  const one = on('i-a');
  const last = on('i-c');
  expect(await sharesOf(one)).toEqual({ 'i-a': ['0', '1'], 'i-b': ['2', '3'], 'i-c': ['4'] });

  await expect(createOn(last, 2)).rejects.toMatchObject({ remoteName: 'InsufficientResource' });
  const kernel = await createOn(last, 1);
  const { cores, env } = await look(last, kernel);
  expect(env).toEqual({
    BACKENDAI_MOCK_NPU_DEVICES: '4',
    OMP_NUM_THREADS: '1',
    OPENBLAS_NUM_THREADS: '1',
    GPU_COUNT: '1',
    N_GPUS: '1',
    GPU_TYPE: 'npu',
    GPU_MODEL_NAME: 'Mock 4',
  });
  const allocated = kernel.result.resource_spec.allocations['cpu']?.['cpu'] ?? {};
  expect(cores.map(String)).toEqual(Object.keys(allocated));
  // The siblings' devices are still free for them, and only for them.
  await expect(createOn(last, 1)).rejects.toMatchObject({ remoteName: 'InsufficientResource' });
  const sibling = await createOn(one, 2);
  expect((await look(one, sibling)).env['BACKENDAI_MOCK_NPU_DEVICES']).toBe('0,1');
  await last.destroyKernel(kernel);
  await one.destroyKernel(sibling);
  const examined = await one.call('examine', {});
  expect(examined.every(({ ok }) => ok)).toBe(true);
}, 120_000);

test('manual: each agent has the devices that it names, and keeps them over a restart', async () => {
  const shares = { 'i-a': ['4', '0'], 'i-b': ['2'], 'i-c': ['1', '3'] };
  const on = await start((text) => manual(text, shares));
  const first = on('i-a');
  expect(await sharesOf(first)).toEqual({ 'i-a': ['0', '4'], 'i-b': ['2'], 'i-c': ['1', '3'] });
  await expect(createOn(on('i-b'), 2)).rejects.toMatchObject({ remoteName: 'InsufficientResource' });
  const kernel = await createOn(first, 2);
  expect((await look(first, kernel)).env['BACKENDAI_MOCK_NPU_DEVICES']).toBe('0,4');
  await daemon?.kill();
  await daemon?.resume();
  const again = on('i-a');
  await expect(createOn(again, 1)).rejects.toMatchObject({ remoteName: 'InsufficientResource' });
  await again.destroyKernel(kernel);
}, 120_000);

function checkConfig(configPath: string): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [MAIN, 'config', 'check', '--config', configPath],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return { status, said: `${stdout}${stderr}` };
}

test('two agents that claim one device are refused before anything starts', async () => {
  const { configPath } = await prepare((text) =>
    manual(text, { 'i-a': ['0', '1'], 'i-b': ['1'], 'i-c': ['2'] }),
  );
  const { status, said } = checkConfig(configPath);
  expect(said).toContain('npu device "1" is claimed twice: also by agent i-a');
  expect(status).toBe(78);
  await expect(daemon?.resume()).rejects.toThrow(/claimed twice/);
}, 90_000);

test('a device that the machine does not have is named at the start', async () => {
  const own = await prepare((text) => manual(text, { 'i-a': ['0'], 'i-b': ['1'], 'i-c': ['9'] }));
  await expect(own.resume()).rejects.toThrow(/agent i-c: no npu device 9 on this machine/);
}, 90_000);

test('a table of mock devices that makes no sense is refused by the check already', async () => {
  const { configPath } = await prepare((text) => text.replace('model = "Mock 3"', 'modle = "Mock 3"'));
  const { status, said } = checkConfig(configPath);
  expect(said).toMatch(/splenium\.devices\.mock: .*devices: 3: .*modle/);
  expect(status).toBe(78);
}, 90_000);
