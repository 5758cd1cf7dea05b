import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { busyboxRoot } from '../../support/docker-images.js';
import { eventually } from '../../support/eventually.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';

const PATIENT = { timeoutMs: 60_000, intervalMs: 5 };
/** A local image; the engine knows it without the registry. */
const IMAGE = 'localhost/test/busybox:1';
const LABELS = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' };

await describeWithEngine('a daemon that is killed while it commits a kernel', (engine) => {
  let daemon: TestDaemon;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), IMAGE.replace('localhost/', ''));
    daemon = await TestDaemon.start({ agentIds: ['i-one'], engine });
  }, 180_000);
  afterEach(() => expectNoRemainsOf(daemon), 60_000);
  afterAll(() => daemon.dispose(), 120_000);

  test('leaves a lock that the next start removes, and the kernel can be committed again', async () => {
    const directory = join(daemon.directory, 'tmp', 'backend.ai', 'commit', 'user');
    const locks = () => readdir(join(directory, 'lock')).catch(() => []);
    const [kernelId, sessionId] = [randomUUID(), randomUUID()];
    let client = daemon.client('i-one');
    await client.createKernel({
      ...{ image: IMAGE, labels: LABELS, resourceSlots: { cpu: '1', mem: '67108864' } },
      ...{ kernelId, sessionId },
    });
    const code = 'dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null; echo filled';
    let output = '';
    for await (const event of client.run({ kernelId, sessionId, code }))
      if (event.type === 'stdout') output += event.text;
    expect(output).toContain('filled');
    const commit = () => client.call('commit', { kernel_id: kernelId, subdir: 'user', filename: 'a.tar.gz' });
    const status = () => client.call('get_commit_status', { kernel_id: kernelId, subdir: 'user' });

    await commit();
    // It is being written: the engine's part is over.
    await eventually(async () => {
      expect(await readdir(directory)).toContain(`.${kernelId}.partial`);
    }, PATIENT);
    expect(await status()).toEqual({ kernel: kernelId, status: 'ongoing' });
    const { pid } = daemon;
    await daemon.kill();
    await client.close();
    expect(JSON.parse(await readFile(join(directory, 'lock', kernelId), 'utf8'))).toMatchObject({
      agentId: 'i-one',
      pid,
    });

    await daemon.resume();
    client = daemon.client('i-one');
    expect(await locks()).toEqual([]);
    expect(await readdir(directory)).toEqual(['lock']);
    expect(await status()).toEqual({ kernel: kernelId, status: 'ready' });
    await commit();
    await eventually(async () => {
      expect(await readdir(directory)).toContain('a.tar.gz');
      expect(await locks()).toEqual([]);
    }, PATIENT);
    await client.destroyKernel({ kernelId, sessionId });
    await client.close();
    // Neither that of the killed daemon nor that of the second commit.
    await eventually(async () => {
      const names = (await engine.docker.listImages()).flatMap(({ RepoTags }) => RepoTags ?? []);
      expect(names.filter((name) => name.startsWith('splenium-commit'))).toEqual([]);
    }, PATIENT);
  }, 180_000);
});
