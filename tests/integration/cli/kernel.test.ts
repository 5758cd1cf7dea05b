import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await TestDaemon.start();
}, 120_000);
afterAll(() => daemon.dispose(), 90_000);

const local = (...argv: readonly string[]): Promise<CommandResult> =>
  runCommand([...argv, '--config', daemon.configPath], { cwd: daemon.directory });
const json = ({ exitCode, out, err }: CommandResult): unknown => {
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
  return JSON.parse(out) as unknown;
};

/** A file as a manager would send it, in JSON. */
async function requestFile(
  kernelId: string,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const canonical = 'local/shell:1';
  const sessionId = randomUUID();
  const request = {
    raw_session_id: sessionId,
    raw_kernel_ids: [kernelId],
    raw_configs: [
      {
        image: {
          canonical,
          digest: 'sha256:0',
          labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' },
        },
        network_id: sessionId,
        session_type: 'interactive',
        cluster_role: 'main',
        cluster_hostname: 'main1',
        uid: null,
        main_gid: null,
        supplementary_gids: [],
        resource_slots: { cpu: '1', mem: '67108864' },
        resource_opts: {},
        environ: { API_KEY: 'the secret', BACKENDAI_KERNEL_ID: kernelId },
        mounts: [],
        internal_data: {},
        scaling_group: 'default',
        agent_addr: '',
        ...changes,
      },
    ],
    raw_cluster_info: { network_config: {}, ssh_keypair: null },
    kernel_image_refs: { [kernelId]: { canonical } },
  };
  const path = join(daemon.directory, `${kernelId}.json`);
  await writeFile(path, JSON.stringify(request));
  return path;
}

test('--dry-run shows what would be started and leaves nothing behind', async () => {
  const kernelId = randomUUID();
  const path = await requestFile(kernelId);
  const before = json(await local('resources', '--json'));
  const result = await local('kernel', 'create', path, '--dry-run', '--agent', 'i-two');
  expect(json(result)).toMatchObject([
    {
      agent_id: 'i-two',
      kernel_id: kernelId,
      backend: 'process',
      launch: {
        command: expect.arrayContaining(['--runtime', 'shell', '--runtime-path', '/bin/sh']),
        environment: { API_KEY: '<redacted>', OMP_NUM_THREADS: '1' },
      },
    },
  ]);
  expect(result.out).not.toContain('the secret');
  expect((await local('kernel', 'create', path, '--dry-run', '--show-secrets')).out).toContain('the secret');
  expect(json(await local('resources', '--json'))).toEqual(before);
  expect(json(await local('ps', '--json'))).toEqual([]);
  expect((await local('doctor')).exitCode).toBe(0);
});

test.each([
  [{ resource_slots: { cpu: '100000', mem: '67108864' } }, /InsufficientResource|allocating 100000/],
  [{ resource_slots: { mem: '67108864' } }, /cpu/],
  [{ preopen_ports: [2200] }, /2200/],
  [{ environ: { 'A=B': '1' } }, /A=B/],
])('--dry-run refuses what a creation would refuse: %j', async (changes, complaint) => {
  const { exitCode, err } = await local(
    'kernel',
    'create',
    await requestFile(randomUUID(), changes),
    '--dry-run',
  );
  expect(exitCode).toBe(1);
  expect(err).toMatch(complaint);
  expect((await local('doctor')).exitCode).toBe(0);
});

test('without it the kernel is created, and seen', async () => {
  const kernelId = randomUUID();
  const path = await requestFile(kernelId);
  expect(json(await local('kernel', 'create', path, '--agent', 'i-one'))).toMatchObject([{ id: kernelId }]);
  expect(json(await local('ps', '--json'))).toMatchObject([
    { kernel_id: kernelId, state: 'running', state_detail: null },
  ]);
  // While it runs its own request can be looked at again.
  expect(json(await local('kernel', 'create', path, '--dry-run', '--agent', 'i-one'))).toMatchObject([
    { kernel_id: kernelId },
  ]);
}, 90_000);
