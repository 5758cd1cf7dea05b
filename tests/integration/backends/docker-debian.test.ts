import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';
import { DEBIAN_ROOT, pathOf, requirement } from '../../support/requirements.js';

const IMAGE = 'localhost/test/debian:13';
const LABELS = {
  'ai.backend.kernelspec': '1',
  'ai.backend.runtime-type': 'python',
  'ai.backend.runtime-path': '/usr/bin/python3',
};
const archive = pathOf(DEBIAN_ROOT);
const available = requirement(`${DEBIAN_ROOT.what}: a python kernel in it`, archive !== '');

await describeWithEngine('a kernel in an image of a whole Debian', (engine) => {
  let daemon: TestDaemon | undefined;

  beforeAll(async () => {
    if (!available) return;
    await engine.importImage(createReadStream(archive), IMAGE.replace('localhost/', ''));
    daemon = await TestDaemon.start({ agentIds: ['i-one'], engine });
  }, 240_000);
  afterAll(() => daemon?.dispose(), 120_000);

  (available ? test : test.skip)(
    'runs on our own node, C library and loader, and its code on those of the image',
    async () => {
      if (!daemon) throw new Error('no daemon');
      const client = daemon.client('i-one');
      const [kernelId, sessionId] = [randomUUID(), randomUUID()];
      await client.createKernel({
        ...{ image: IMAGE, labels: LABELS, resourceSlots: { cpu: '1', mem: '268435456' } },
        ...{ kernelId, sessionId },
      });
      const outputOf = async (code: string) => {
        let output = '';
        for await (const event of client.run({ kernelId, sessionId, code }))
          if (event.type === 'stdout' || event.type === 'stderr') output += event.text;
        return output;
      };
      const code = [
        'import json, os, platform, ssl, subprocess, sys',
        'release = platform.freedesktop_os_release()',
        'runner = os.readlink(f"/proc/{os.getppid()}/exe")',
        'version = subprocess.run(["ldd", "--version"], capture_output=True, text=True).stdout.splitlines()[0]',
        'print(json.dumps([release["ID"], release["VERSION_ID"], os.getcwd(), sys.executable]))',
        'print(runner)',
        'print(version)',
      ].join('\n');
      const [facts = '[]', runner, version] = (await outputOf(code)).split('\n');
      expect(JSON.parse(facts)).toEqual(['debian', '13', '/home/work', '/usr/bin/python3']);
      // The loader of the volume, not the image's: the image has no node.
      expect(runner).toMatch(/^\/opt\/splenium\//);
      expect(version).toMatch(/^ldd \(Debian GLIBC 2\.41/);
      await client.destroyKernel({ kernelId, sessionId });
      await client.close();
      await expectNoRemainsOf(daemon);
    },
    180_000,
  );
});
