import { join } from 'node:path';
import { z } from 'zod';
import type { KernelPlan } from '../../../src/backends/backend.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { DockerBackendHarness, quietPort } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const NEVER = new AbortController().signal;
const NETWORK = 'bai-multinode-test';

await describeWithEngine(
  'an engine in a swarm',
  (engine) => {
    let harness: DockerBackendHarness;

    beforeAll(async () => {
      await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
      const entrypointPath = await bundleEntrypoint(engine.directory);
      const root = join(engine.directory, 'volumes');
      const { directory } = await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath });
      harness = await DockerBackendHarness.make({ engine, volume: directory });
      await engine.docker.swarmInit({
        ListenAddr: `127.0.0.1:${String(await quietPort())}`,
        AdvertiseAddr: '127.0.0.1',
        DataPathPort: await quietPort(),
      });
      await engine.docker.createNetwork({ Name: NETWORK, Driver: 'overlay', Attachable: true });
    }, 120_000);
    // Here, as a bridge of the swarm would count as left behind, and stay on this machine after the engine.
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
      await engine.docker.swarmLeave({ force: true });
      await engine.docker.getNetwork('docker_gwbridge').remove();
    }, 60_000);

    test('kernels join an attachable overlay network by name, find each other there and keep their ports', async () => {
      const backend = await harness.open();
      const start = async (hostname: string) => {
        const plan: KernelPlan = {
          ...(await harness.plan()),
          hostname,
          network: { mode: 'named', name: NETWORK, aliases: [hostname], spansMachines: true },
        };
        const handle = await backend.create(plan, NEVER);
        await backend.start(handle, NEVER);
        await harness.stub(plan).ready();
        return { plan, container: engine.docker.getContainer(handle.containerId) };
      };
      const { plan, container } = await start('main1');
      // The first container of the swarm makes the engine make the bridge that the second is to leave alone.
      const second = await start('sub1');
      const { NetworkSettings } = await container.inspect();
      expect(Object.keys(NetworkSettings.Networks)).toEqual([NETWORK]);
      expect(NetworkSettings.Networks[NETWORK]?.Aliases).toContain('main1');
      expect(NetworkSettings.Ports['2000/tcp']?.[0]?.HostPort).toBe(String(plan.replInPort));
      const { IPAM } = z
        .object({ IPAM: z.object({ Config: z.array(z.object({ Subnet: z.string() })) }) })
        .parse(await engine.docker.getNetwork('docker_gwbridge').inspect());
      expect((await second.container.inspect()).Config.Env).toContain(
        `OMPI_MCA_btl_tcp_if_exclude=127.0.0.1/32,${String(IPAM.Config[0]?.Subnet)}`,
      );
      // The swarm spreads names after the start.
      await eventually(
        async () => {
          const lookup = await container.exec({ Cmd: ['nslookup', 'sub1'], AttachStdout: true, Tty: true });
          let text = '';
          for await (const chunk of await lookup.start({ Tty: true })) text += String(chunk);
          expect(text).toMatch(/sub1/);
          expect(text).toMatch(/Address(?: 1)?:\s*10\./);
        },
        { timeoutMs: 50_000 },
      );
    }, 120_000);
  },
  { SPLENIUM_DOCKER_LIVE_RESTORE: 'false' },
);
