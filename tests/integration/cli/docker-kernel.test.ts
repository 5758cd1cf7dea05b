import { randomUUID } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { contentsOf } from '../../support/engine-contents.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';

const MIB = 1024 * 1024;

await describeWithEngine('splenium kernel create on a node with an engine', (engine) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    daemon = await TestDaemon.start({ engine });
  }, 180_000);
  afterEach(() => expectNoRemainsOf(daemon), 60_000);
  afterAll(() => daemon.dispose(), 120_000);

  const local = (...argv: readonly string[]): Promise<CommandResult> =>
    runCommand([...argv, '--config', daemon.configPath], { cwd: daemon.directory });
  const json = ({ exitCode, out, err }: CommandResult): unknown => {
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
    return JSON.parse(out) as unknown;
  };
  /** What the node holds of kernels, on the engine, on the disk and in the books. */
  const state = async () => ({
    engine: await contentsOf(engine.docker),
    scratches: await readdir(daemon.scratchRoot).catch(() => []),
    records: await Promise.all(
      daemon.agentIds.map((id) =>
        readdir(join(daemon.stateDirectory, 'agents', id, 'kernels')).catch(() => []),
      ),
    ),
    resources: json(await local('resources', '--json')),
    kernels: json(await local('ps', '--json')),
  });

  /** A file as a manager would send it, in JSON. */
  const requestFile = async (kernelId: string, canonical: string): Promise<string> => {
    const sessionId = randomUUID();
    const labels = {
      'ai.backend.kernelspec': '1',
      'ai.backend.runtime-type': 'app',
      'ai.backend.service-ports': 'pair:http:[8081,8082]',
    };
    const request = {
      raw_session_id: sessionId,
      raw_kernel_ids: [kernelId],
      raw_configs: [
        {
          image: { canonical, digest: 'sha256:0', is_local: true, auto_pull: 'none', labels },
          network_id: sessionId,
          session_type: 'interactive',
          cluster_role: 'main',
          cluster_hostname: 'main1',
          uid: null,
          main_gid: null,
          supplementary_gids: [],
          resource_slots: { cpu: '1', mem: String(256 * MIB) },
          resource_opts: { shmem: String(64 * MIB) },
          environ: { API_KEY: 'the secret', BACKENDAI_KERNEL_ID: kernelId },
          mounts: [],
          internal_data: {},
          scaling_group: 'default',
          agent_addr: '',
        },
      ],
      raw_cluster_info: {
        network_config: { mode: 'bridge', network_name: 'bai-dry-run' },
        ssh_keypair: null,
      },
      kernel_image_refs: { [kernelId]: { canonical, is_local: true } },
    };
    const path = join(daemon.directory, `${kernelId}.json`);
    await writeFile(path, JSON.stringify(request));
    return path;
  };

  test('--dry-run prints the container to the last option and makes no part of it', async () => {
    const kernelId = randomUUID();
    const path = await requestFile(kernelId, BUSYBOX_IMAGE);
    const before = await state();
    const dryRun = (...more: readonly string[]) =>
      local('kernel', 'create', path, '--dry-run', '--agent', 'i-two', ...more);
    const [plan] = json(await dryRun()) as [{ launch: { name: string; options: object } }];
    expect(plan).toMatchObject({ agent_id: 'i-two', kernel_id: kernelId, backend: 'docker' });
    expect(plan.launch.name).toBe(`kernel.busybox.${kernelId}`);
    const port = {
      HostIp: expect.any(String) as unknown,
      HostPort: expect.stringMatching(/^\d+$/) as unknown,
    };
    expect(plan.launch.options).toMatchObject({
      Image: BUSYBOX_IMAGE,
      Hostname: 'main1',
      Labels: {
        'ai.backend.owner': 'i-two',
        'ai.backend.kernel-id': kernelId,
        'ai.backend.service-ports': 'pair:http:[8081,8082]',
      },
      HostConfig: {
        CpusetCpus: expect.stringMatching(/^\d+$/) as unknown,
        Memory: expect.any(Number) as unknown,
        MemorySwap: expect.any(Number) as unknown,
        ShmSize: 64 * MIB,
        NetworkMode: 'bai-dry-run',
        PortBindings: { '2000/tcp': [port], '2001/tcp': [port], '8081/tcp': [port], '8082/tcp': [port] },
        Mounts: expect.arrayContaining([
          expect.objectContaining({
            Source: join(daemon.scratchRoot, kernelId, 'work'),
            Target: '/home/work',
          }),
        ]) as unknown,
      },
    });
    expect(JSON.stringify(plan)).not.toContain('the secret');
    expect((await dryRun('--show-secrets')).out).toContain('the secret');
    expect(await state()).toEqual(before);
    // Nothing was taken for it: the next one is told the same ports.
    expect(json(await dryRun())).toEqual([plan]);
    expect((await local('doctor')).exitCode).toBe(0);
  }, 120_000);

  test('--dry-run does not look for the image, and pulls none', async () => {
    const kernelId = randomUUID();
    const path = await requestFile(kernelId, 'splenium-test/not-here:1');
    const before = await state();
    expect(json(await local('kernel', 'create', path, '--dry-run'))).toMatchObject([
      { launch: { options: { Image: 'splenium-test/not-here:1' } } },
    ]);
    expect(await state()).toEqual(before);
  }, 120_000);
});
