import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDummyConfig } from '../../../src/config/index.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spl-dummy-config-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function load(text: string, random = () => 0.5) {
  await writeFile(join(directory, 'agent.dummy.toml'), text);
  return loadDummyConfig({ cwd: directory, random });
}

test('an empty file has the defaults of the original', async () => {
  const config = await load('');
  expect(config).toMatchObject({ cores: 4, memoryBytes: 34_359_738_368, usesFakeRunner: true, warnings: [] });
  expect(config.images).toEqual({ present: [], pullable: [], missing: [] });
  const tenth = [
    ...['scan-image', 'check-status', 'get-completions', 'get-logs', 'interrupt-kernel', 'start-service'],
    ...['start-model-service', 'shutdown-service', 'get-service-apps', 'accept-file', 'download-file'],
    ...['download-single', 'list-files'],
  ];
  const second = [
    ...['pull-image', 'push-image', 'purge-images', 'destroy-kernel', 'clean-kernel', 'create-network'],
    ...['destroy-network', 'prepare-scratch', 'prepare-ssh', 'mount-krunner'],
  ];
  expect(config.delaysMs).toEqual({
    ...Object.fromEntries(tenth.map((name) => [name, 100])),
    ...Object.fromEntries(second.map((name) => [name, 1000])),
    spawn: 500,
    'start-container': 2000,
    commit: 5000,
    // Of our own.
    execute: 0,
  });
  expect(new Set(Object.values(config.failures))).toEqual(new Set([0]));
});

test('of a range one value is drawn, between its ends', async () => {
  const text = '[kernel-creation-ctx.delay]\nspawn = [1.0, 3.0]\nstart-container = 0.25\n';
  expect((await load(text, () => 0.5)).delaysMs).toMatchObject({ spawn: 2000, 'start-container': 250 });
  expect((await load(text, () => 0)).delaysMs.spawn).toBe(1000);
});

test('images, resources, the runner and failures are read, in either spelling', async () => {
  const config = await load(`
[agent.image]
already_have = ["a:1"]
need-to-pull = ["b:1"]
missing = ["c:1"]
[agent.resource.cpu]
num_core = 16
[agent.resource.memory]
size = "1G"
[kernel]
use-fake-code-runner = false
[splenium.failure]
start = 0.25
remove = [1, 3]
`);
  expect(config).toMatchObject({
    images: { present: ['a:1'], pullable: ['b:1'], missing: ['c:1'] },
    cores: 16,
    memoryBytes: 1_073_741_824,
    usesFakeRunner: false,
    failures: { start: 0.25, remove: [1, 3], create: 0 },
  });
});

test('a missing file is named, and what to do about it', async () => {
  await expect(loadDummyConfig({ cwd: directory })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/agent\.dummy\.toml.*an empty file will do/),
  });
});

test('everything that is wrong is told at once, with its place', async () => {
  const text = `[agent.delay]
pull-image = -1
push-image = [2.0, 1.0]
[agent.resource.cpu]
num-core = 0
[splenium.failure]
create = 1.5
stop = [0]
`;
  await expect(load(text)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    problems: [
      { key: 'agent.delay.pull-image', position: { line: 2 } },
      { key: 'agent.delay.push-image', position: { line: 3 } },
      { key: 'agent.resource.cpu.num-core', position: { line: 5 } },
      { key: 'splenium.failure.create', position: { line: 7 } },
      { key: 'splenium.failure.stop', position: { line: 8 } },
    ],
  });
});

test('a key nobody knows is a warning with the nearest one', async () => {
  expect((await load('[agent.delay]\npull-imag = 1\n')).warnings).toMatchObject([
    { key: 'agent.delay.pull-imag', hint: 'did you mean "pull-image"?' },
  ]);
});
