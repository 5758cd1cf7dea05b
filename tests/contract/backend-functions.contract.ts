import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ImageRequest, KernelBackend } from '../../src/backends/backend.js';
import { AgentClient } from '../../src/client/agent-client.js';
import { kernelCreationArguments } from '../../src/client/kernel-spec.js';
import { ImageRef } from '../../src/codec/index.js';
import { CpuPlugin, MemoryPlugin } from '../../src/resources/index.js';
import { AgentBench } from '../integration/agent/agent-bench.js';
import { eventually } from '../support/eventually.js';
import { startNode, type TestNode } from '../support/rpc-server.js';
import type { ImagesHarness } from './backend-images.contract.js';

/** What a backend's tests must offer. Its kernels have the real runner, or the backend's own. */
export interface FunctionsHarness extends AsyncDisposable {
  readonly backend: KernelBackend;
  /** Null: the backend has none. */
  readonly images: ImagesHarness | null;
  /** That kernels can be made of. */
  readonly kernelImage: string;
  /** Of the agent's ports, which are really free. */
  readonly firstPort: number;
}

const PATIENT = { timeoutMs: 50_000 };
const TASK_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const LABELS = {
  'ai.backend.kernelspec': '1',
  'ai.backend.runtime-type': 'shell',
  'ai.backend.runtime-path': '/bin/sh',
  'ai.backend.service-ports': 'jupyter:http:8070',
};
const WISH = { labels: LABELS, resourceSlots: { cpu: '1', mem: String(256 * 1024 * 1024) } };

/** What a manager gets for each function that ends in the backend (spec/rpc-functions.md 3.2 to 3.4, 3.9.2). */
export function describeBackendFunctions(name: string, makeHarness: () => Promise<FunctionsHarness>): void {
  describe(`${name} backend, functions`, () => {
    let harness: FunctionsHarness;
    let bench: AgentBench;
    let node: TestNode;
    let client: AgentClient;

    beforeEach(async () => {
      harness = await makeHarness();
      bench = await AgentBench.start(harness.backend, {
        // Kernels are pinned to cores, so they must be real ones; several share one where there are few.
        resources: { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] },
        firstPort: harness.firstPort,
        // As daemons do.
        ...(harness.images === null ? { commits: { root: null } } : {}),
      });
      await mkdir(join(bench.directory, 'scratches'), { recursive: true });
      const { agent } = bench;
      const stop = () => Promise.resolve();
      node = await startNode([
        { factory: () => ({ id: agent.id, start: () => Promise.resolve({ agent, stop }) }) },
      ]);
      client = new AgentClient({ address: node.address, agentId: agent.id });
    }, 60_000);
    afterEach(async () => {
      await client.call('reset_agent', {});
      expect(await client.call('examine', {})).toEqual([]);
      expect(bench.agent.examine()).toEqual([]);
      await client.close();
      await node.close();
      await bench.stop();
      await bench.remove();
      await harness[Symbol.asyncDispose]();
    }, 120_000);

    const create = () => client.createKernel({ ...WISH, image: harness.kernelImage });
    const endOf = (taskId: string) =>
      eventually(() => {
        const ends = (['bgtask_done', 'bgtask_failed', 'bgtask_cancelled'] as const)
          .flatMap((event) => bench.events.named(event))
          .filter((event) => event.taskId.replaceAll('-', '') === taskId.replaceAll('-', ''));
        expect(ends).toHaveLength(1);
        return ends[0];
      }, PATIENT);
    /** Null stands for an image of no backend: there it is as good as any other. */
    const requestOf = (image: ImageRequest | null): ImageRequest =>
      image ?? {
        canonical: 'registry.example/any/image:1',
        digest: 'sha256:1',
        architecture: 'x86_64',
        isLocal: false,
        autoPull: 'digest',
        registry: { name: 'registry.example', username: null, password: null },
      };
    const pull = async (image: ImageRequest | null, autoPull?: 'digest' | 'tag' | 'none') => {
      const { canonical, digest, registry, autoPull: usual } = requestOf(image);
      const tasks = await client.call('check_and_pull', {
        image_configs: {
          'a key of the caller': {
            ...{ canonical, digest, project: 'contract', architecture: 'x86_64', is_local: false },
            registry: registry ?? { name: '', username: null, password: null },
            auto_pull: autoPull ?? usual,
          },
        },
      });
      const entries = [...new Map(Object.entries(tasks))];
      expect(entries).toEqual([['a key of the caller', expect.stringMatching(/^[0-9a-f]{32}$/)]]);
      return entries[0]?.[1] ?? '';
    };
    const imageEvents = () =>
      (['image_pull_started', 'image_pull_finished', 'image_pull_failed'] as const)
        .flatMap((event) => bench.events.named(event))
        .map((event) => [event.name, 'message' in event ? event.message : null]);
    const refOf = (canonical: string, isLocal = false) => {
      const [, registry = '', project = '', image = '', tag = ''] =
        /^([^/]*)\/(.*)\/([^/]*):([^:]*)$/.exec(canonical) ?? [];
      return new ImageRef({ registry, project, name: image, tag, architecture: 'x86_64', isLocal });
    };
    const push = (canonical: string, isLocal = false) =>
      client.call('push_image', {
        image_ref: refOf(canonical, isLocal),
        registry_conf: { name: 'any', username: null, password: null },
      });

    test('check_and_pull fetches what is missing, once, and a session goes on either way', async () => {
      const image = harness.images?.image ?? null;
      expect(await endOf(await pull(image))).toMatchObject({ name: 'bgtask_done' });
      const there = ['image_pull_finished', 'Image already exists'];
      const fetched = [
        ['image_pull_started', null],
        ['image_pull_finished', null],
      ];
      expect(imageEvents()).toEqual(image === null ? [there] : fetched);
      expect(await endOf(await pull(image, 'tag'))).toMatchObject({ name: 'bgtask_done' });
      expect(imageEvents()).toHaveLength(image === null ? 2 : 3);
      expect(imageEvents()).toContainEqual(there);
      await create();
    }, 120_000);

    test('check_and_pull tells of a pull that fails, and of an image that nobody may pull', async () => {
      const missing = harness.images?.missing ?? null;
      const [failing, forbidden] = [
        await endOf(await pull(missing)),
        await endOf(await pull(missing, 'none')),
      ];
      if (missing === null) {
        // Kernels need no image, so none is missing.
        expect([failing?.name, forbidden?.name]).toEqual(['bgtask_done', 'bgtask_done']);
        return;
      }
      expect(failing).toMatchObject({ name: 'bgtask_failed' });
      expect(forbidden).toMatchObject({
        name: 'bgtask_failed',
        message: expect.stringMatching(/^ImageNotAvailable\(/) as unknown,
      });
      expect(imageEvents().map(([event]) => event)).toEqual(['image_pull_started', 'image_pull_failed']);
    });

    test('check_pulling is true from the request to the end of the pull, and false before and after', async () => {
      const image = requestOf(harness.images?.image ?? null);
      const isPulling = () => client.call('check_pulling', { image_name: image.canonical });
      expect(await isPulling()).toBe(false);
      const hold = harness.images?.hold('pull');
      const taskId = await pull(image);
      await hold?.entered();
      if (hold) expect(await isPulling()).toBe(true);
      hold?.release();
      await endOf(taskId);
      expect(await isPulling()).toBe(false);
    });

    test('push_image answers with a task, which is done, or says what keeps it', async () => {
      const { images } = harness;
      const local = await push('registry.example/user/local:1', true);
      expect(local).toEqual({
        bgtask_id: expect.stringMatching(TASK_ID) as unknown,
        canonical: 'registry.example/user/local:1',
      });
      expect(await endOf(local.bgtask_id)).toMatchObject({ name: 'bgtask_done' });
      const absent = await push(images?.missing.canonical ?? 'registry.example/user/absent:1');
      expect(await endOf(absent.bgtask_id)).toMatchObject({
        name: 'bgtask_failed',
        message: expect.stringMatching(images ? /^\w+\('.*missing:1/ : /^NotImplementedError\(/) as unknown,
      });
      if (images === null) return;
      await endOf(await pull(images.image));
      const { canonical } = await images.upload();
      const { bgtask_id: taskId } = await push(canonical);
      expect(await endOf(taskId)).toMatchObject({ name: 'bgtask_done', message: null });
      if (images.pushed) expect(images.pushed()).toEqual([canonical]);
    });

    test('purge_images tells for each image whether it is gone, and never fails', async () => {
      const { images } = harness;
      const [here, absent] = [requestOf(images?.image ?? null), requestOf(images?.missing ?? null)];
      if (images) await endOf(await pull(here));
      const { responses } = await client.call('purge_images', {
        image_canonicals: [here.canonical, absent.canonical],
        force: false,
        noprune: false,
      });
      const refusal = expect.stringContaining(
        images ? absent.canonical : 'the process backend has no images',
      ) as unknown;
      expect(responses).toEqual([
        { image: here.canonical, error: images ? null : refusal },
        { image: absent.canonical, error: refusal },
      ]);
    });

    test('commit makes an image or a file where there are images, and get_commit_status follows it', async () => {
      const { kernelId } = await create();
      const commit = (more: object) =>
        client.call('commit', { kernel_id: kernelId, subdir: 'user', ...more });
      const status = () => client.call('get_commit_status', { kernel_id: kernelId, subdir: 'user' });
      const canonical = `localhost/contract/${randomUUID()}:1`;
      const toImage = await commit({
        canonical,
        extra_labels: { 'ai.backend.customized-image.name': 'mine' },
      });
      expect(toImage).toEqual({
        bgtask_id: expect.stringMatching(TASK_ID) as unknown,
        kernel: kernelId,
        path: null,
      });
      const end = await endOf(toImage.bgtask_id);
      const toFile = await commit({ filename: 'a.tar.gz' });
      expect(toFile['path']).toBe('user/a.tar.gz');
      const last = await endOf(toFile.bgtask_id);
      expect(await status()).toEqual({ kernel: kernelId, status: 'ready' });
      if (harness.images === null) {
        const refused = {
          name: 'bgtask_failed',
          message: expect.stringMatching(/^NotImplementedError\(/) as unknown,
        };
        expect([end, last]).toMatchObject([refused, refused]);
        return;
      }
      expect([end, last]).toMatchObject([{ name: 'bgtask_done' }, { name: 'bgtask_done' }]);
      expect(
        gunzipSync(await readFile(join(bench.directory, 'commits', 'user', 'a.tar.gz'))).length,
      ).toBeGreaterThan(0);
      await client.call('purge_images', { image_canonicals: [canonical], force: true, noprune: false });
    }, 120_000);

    test('a commit of a kernel that is not here fails in its task, its status at once', async () => {
      const unknown = { kernel_id: randomUUID(), subdir: 'user' };
      const { bgtask_id: taskId } = await client.call('commit', unknown);
      expect(await endOf(taskId)).toMatchObject({
        name: 'bgtask_failed',
        message: `KeyError('${unknown.kernel_id}')`,
      });
      await expect(client.call('get_commit_status', unknown)).rejects.toMatchObject({
        remoteName: 'KeyError',
      });
    });

    test('local networks are made and removed as often as asked', async () => {
      const network = { network_name: `bai-singlenode-${randomUUID()}` };
      for (let time = 0; time < 2; time += 1)
        expect(await client.call('create_local_network', network)).toBeNull();
      for (let time = 0; time < 2; time += 1)
        expect(await client.call('destroy_local_network', network)).toBeNull();
    });

    test('scan_gpu_alloc_map is empty where there are no GPUs', async () => {
      expect(await client.call('scan_gpu_alloc_map', {})).toEqual({});
    });

    test('restart_kernel keeps the id, the ports and the resources, and the kernel works', async () => {
      const { kernelId, sessionId, result } = await create();
      const spec = kernelCreationArguments({ ...WISH, image: harness.kernelImage, kernelId, sessionId });
      const [image] = spec.kernel_image_refs.values();
      if (!image) throw new Error('no image');
      const usage = () => client.call('describe_resources', {});
      const before = await usage();
      const again = await client.call('restart_kernel', {
        session_id: sessionId,
        kernel_id: kernelId,
        kernel_image: image,
        updated_config: {},
      });
      expect(again.repl_in_port).toBe(result.repl_in_port);
      expect(again.repl_out_port).toBe(result.repl_out_port);
      expect(again.service_ports).toEqual(result.service_ports);
      expect(await usage()).toEqual(before);
      expect((await client.listKernels()).map((one) => [one.kernel_id, one.state])).toEqual([
        [kernelId, 'running'],
      ]);
      expect(await client.call('ping_kernel', { kernel_id: kernelId })).not.toBeNull();
      await Promise.all([1, 2].map(() => client.destroyKernel({ kernelId, sessionId })));
      await client.destroyKernel({ kernelId, sessionId });
      expect(await client.listKernels()).toEqual([]);
    }, 120_000);

    test('plan_kernel says what would be made, makes nothing, and keeps secrets', async () => {
      const spec = { ...WISH, image: harness.kernelImage, environ: { TOKEN: 'of-the-user' } };
      const args = kernelCreationArguments(spec);
      const [preview] = await client.call('plan_kernel', args);
      expect(preview).toMatchObject({ backend: harness.backend.kind });
      expect(JSON.stringify(preview)).not.toContain('of-the-user');
      const [shown] = await client.call('plan_kernel', { ...args, show_secrets: true });
      expect(JSON.stringify(shown)).toContain('of-the-user');
      expect(await client.listKernels()).toEqual([]);
      expect(await harness.backend.list(bench.agent.id)).toEqual([]);
    });
  });
}
