import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { expectNoRemainsOf } from '../../support/kernel-remains.js';

/** Everything but the given calls is allowed. */
const profile = (...forbidden: readonly string[]): string =>
  JSON.stringify({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: forbidden, action: 'SCMP_ACT_ERRNO' }],
  });

await describeWithEngine('the seccomp profile of kernels', (engine) => {
  let directory: string;
  let daemon: TestDaemon | undefined;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    directory = await mkdtemp(join(tmpdir(), 'splenium-seccomp-'));
    await mkdir(join(directory, 'with'));
    await mkdir(join(directory, 'without'));
    await writeFile(join(directory, 'with', 'default-seccomp.json'), profile('mknod', 'mknodat'));
    await writeFile(join(directory, 'own.json'), profile('symlink', 'symlinkat'));
  }, 60_000);
  afterEach(() => daemon?.dispose(), 60_000);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  /** What a kernel of a daemon with these settings is made with, and what its user may do. */
  const seen = async (settings: Readonly<Record<string, string>>) => {
    const lines = Object.entries(settings).map(([key, path]) => `${key} = "${join(directory, path)}"`);
    daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      engine,
      toml: ['[splenium.docker]', ...lines].join('\n'),
    });
    const kernel = { kernelId: randomUUID(), sessionId: randomUUID() };
    const client = daemon.client('i-one');
    try {
      const { result } = await client.createKernel({
        ...kernel,
        image: `localhost/${BUSYBOX_IMAGE}`,
        labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'shell' },
        resourceSlots: { cpu: '1', mem: '67108864' },
      });
      const { HostConfig } = await engine.docker.getContainer(result.container_id).inspect();
      let text = '';
      const code =
        'mkfifo /tmp/a 2>/dev/null && echo fifo; ln -s b /tmp/c 2>/dev/null && echo link; echo end';
      for await (const event of client.run({ ...kernel, code }))
        if (event.type === 'stdout') text += event.text;
      return { options: (HostConfig.SecurityOpt as string[] | null) ?? [], may: text.trim().split(/\s+/) };
    } finally {
      await client.destroyKernel(kernel);
      await client.close();
      await expectNoRemainsOf(daemon);
    }
  };

  test('is that of the runner package when none is named', async () => {
    const { options, may } = await seen({ 'runner-package': 'with' });
    expect(options).toEqual([`seccomp=${profile('mknod', 'mknodat')}`]);
    expect(may).toEqual(['link', 'end']);
  }, 120_000);

  test('is the named one, whatever the runner package has', async () => {
    const { options, may } = await seen({ 'runner-package': 'with', 'seccomp-profile': 'own.json' });
    expect(options).toEqual([`seccomp=${profile('symlink', 'symlinkat')}`]);
    expect(may).toEqual(['fifo', 'end']);
  }, 120_000);

  test('is the engine’s own with a package that has none', async () => {
    const { options, may } = await seen({ 'runner-package': 'without' });
    expect(options).toEqual([]);
    expect(may).toEqual(['fifo', 'link', 'end']);
  }, 120_000);
});
