import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';

/** A local image; the engine knows it without the registry. */
const IMAGE = `localhost/${BUSYBOX_IMAGE}`;
const LABELS = { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' };

await describeWithEngine('a daemon that has lost its journal', (engine) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    daemon = await TestDaemon.start({ agentIds: ['i-one'], engine });
  }, 180_000);
  afterEach(() => expectNoRemainsOf(daemon), 60_000);
  afterAll(() => daemon.dispose(), 120_000);

  // Without its own record the kernel is known by its container and what the original's agent leaves, too.
  test.each([
    ['by the record in its scratch directory', []],
    ['by its container and files', ['kernel.json']],
  ])(
    'takes over a running kernel %s',
    async (_, alsoLost) => {
      const ids = { kernelId: randomUUID(), sessionId: randomUUID() };
      let client = daemon.client('i-one');
      const run = async (code: string): Promise<string> => {
        let output = '';
        for await (const event of client.run({ ...ids, code }))
          if (event.type === 'stdout') output += event.text;
        return output.trim();
      };
      const usage = () => client.call('describe_resources', { agent_id: 'i-one' });
      await client.createKernel({
        ...ids,
        image: IMAGE,
        labels: LABELS,
        resourceSlots: { cpu: '1', mem: '67108864' },
      });
      expect(await run('answer=42; echo set')).toBe('set');
      const before = await usage();

      await daemon.kill();
      await client.close();
      await rm(join(daemon.stateDirectory, 'agents', 'i-one', 'kernels'), { recursive: true });
      for (const file of alsoLost) await rm(join(daemon.scratchRoot, ids.kernelId, file));
      await daemon.resume();

      client = daemon.client('i-one');
      expect(await run('echo $answer')).toBe('42');
      expect(await usage()).toEqual(before);
      await client.destroyKernel(ids);
      expect(await engine.docker.listContainers({ all: true })).toEqual([]);
      await client.close();
    },
    240_000,
  );
});
