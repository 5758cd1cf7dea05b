import { randomUUID } from 'node:crypto';
import { readdir, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';
import { EngineProxy } from '../../support/engine-proxy.js';
import { eventually } from '../../support/eventually.js';
import { mountsBelow } from '../../support/kernel-remains.js';

const MIB = 1024 * 1024;
const PATIENT = { timeoutMs: 50_000 };

/** Whoever may run an engine may mount. */
await describeWithEngine('scratch directories in memory on a real engine', (engine) => {
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
  }, 60_000);

  describe('of an agent', () => {
    let volume: string;
    let on: EngineBench;
    beforeAll(async () => {
      volume = await runnerVolumeOf(engine);
    }, 120_000);
    beforeEach(async () => {
      on = await EngineBench.start(engine, volume, { settings: { scratchType: 'memory' } });
    });
    afterEach(() => on.stop(), 120_000);
    const root = () => join(on.bench.directory, 'scratches');

    test('are file systems of the given size in the kernel, outlive a restart and go with the kernel', async () => {
      const request = busyboxRequest();
      const scratch = join(root(), request.kernelId);
      await on.create(request);
      expect([...(await mountsBelow(on.bench.directory))].sort()).toEqual([scratch, `${scratch}_tmp`]);
      const sizeOf = async (path: string) => {
        const { blocks, bsize } = await statfs(path);
        return blocks * bsize;
      };
      expect([await sizeOf(scratch), await sizeOf(`${scratch}_tmp`)]).toEqual([64 * MIB, 64 * MIB]);
      const seen = async (path: string) => on.exec(request, 'sh', '-c', `grep ' ${path} ' /proc/mounts`);
      for (const path of ['/home/work', '/home/config', '/tmp']) expect(await seen(path)).toMatch(/ tmpfs /);
      expect(await seen('/home/work')).toContain('size=65536k');
      // More than there is room for is refused there, and does no harm to the machine.
      const fill =
        'dd if=/dev/zero of=/home/work/full bs=1M count=80 2>&1 | grep -c "No space"; rm /home/work/full';
      expect(await on.exec(request, 'sh', '-c', fill)).toBe('1');
      await writeFile(join(scratch, 'work', 'kept'), 'kept');
      await on.restart(request);
      expect(await on.exec(request, 'cat', '/home/work/kept')).toBe('kept');
      expect(await mountsBelow(on.bench.directory)).toHaveLength(2);
      await on.destroy(request);
      expect(await mountsBelow(on.bench.directory)).toEqual([]);
      expect(await readdir(root())).toEqual([]);
    }, 120_000);

    test.each(['POST /containers/create', 'POST /containers/ID/start', 'GET /containers/ID/json'])(
      'go with a creation whose call %s is refused',
      async (call) => {
        on.proxy.fail(call, 'refused');
        await expect(on.create(busyboxRequest())).rejects.toThrow();
        expect(on.proxy.isArmed).toBe(false);
        await eventually(async () => {
          expect(await mountsBelow(on.bench.directory)).toEqual([]);
          expect(await readdir(root())).toEqual([]);
        }, PATIENT);
      },
      120_000,
    );
  });

  describe('of a daemon that is killed', () => {
    let proxy: EngineProxy;
    let daemon: TestDaemon;
    beforeAll(async () => {
      proxy = await EngineProxy.start(join(engine.directory, 'kill.sock'), engine.socketPath);
      daemon = await TestDaemon.start({
        engine: proxy,
        agentKeys: ['scratch-type = "memory"'],
      });
    }, 180_000);
    afterAll(async () => {
      await daemon.dispose();
      await proxy.stop();
    }, 120_000);

    const ids = () => ({ kernelId: randomUUID(), sessionId: randomUUID() });
    const create = (client: AgentClient, kernel: ReturnType<typeof ids>) =>
      client.createKernel({
        ...kernel,
        image: `localhost/${BUSYBOX_IMAGE}`,
        labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' },
        resourceSlots: { cpu: '1', mem: String(64 * MIB) },
      });
    const isClean = () =>
      eventually(async () => {
        expect(await mountsBelow(daemon.directory)).toEqual([]);
        expect(await readdir(daemon.scratchRoot)).toEqual([]);
      }, PATIENT);

    test('are the running kernel’s afterwards, with what is in them, and go with it', async () => {
      const kernel = ids();
      let client = daemon.client('i-one');
      await create(client, kernel);
      const run = async (code: string): Promise<string> => {
        let output = '';
        for await (const event of client.run({ ...kernel, code }))
          if (event.type === 'stdout') output += event.text;
        return output.trim();
      };
      expect(await run('echo before > /home/work/file; echo written')).toBe('written');
      const mounts = await mountsBelow(daemon.directory);
      expect(mounts).toHaveLength(2);
      await daemon.kill();
      await client.close();
      await daemon.resume();
      client = daemon.client('i-one');
      expect(await mountsBelow(daemon.directory)).toEqual(mounts);
      expect(await run('cat /home/work/file; grep -c " /home/work tmpfs " /proc/mounts')).toBe('before\n1');
      await client.destroyKernel(kernel);
      await client.close();
      await isClean();
    }, 180_000);

    test.each(['POST /containers/create', 'POST /containers/ID/start'])(
      'are unmounted by the next one when a creation was at %s (R15)',
      async (point) => {
        const hang = proxy.hang(point);
        const client = daemon.client('i-one');
        const creation = create(client, ids()).catch(() => 'lost');
        await hang.entered;
        expect(await mountsBelow(daemon.directory)).toHaveLength(2);
        await daemon.kill();
        await client.close();
        expect(await creation).toBe('lost');
        hang.release();
        await daemon.resume();
        await isClean();
      },
      180_000,
    );
  });
});
