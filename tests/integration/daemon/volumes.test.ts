import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCodec } from '../../../src/codec/index.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import { SmallManager } from '../../support/manager/small-manager.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

function canMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const hasStores = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const asRoot = requirement('root that may mount', canMount(), { installable: false });
const WAIT = { timeoutMs: 60_000 };
const SCOPE = 'user:11111111-1111-4111-8111-111111111111';

(hasStores && asRoot ? describe : describe.skip)('a node that mounts volumes itself', () => {
  let root: string;
  let manager: SmallManager;
  let daemon: TestDaemon;
  let fstab: string;

  const mounted = async (): Promise<string[]> => {
    const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
    return lines.flatMap((line) => (line.split(' ')[4]?.startsWith(root) ? [line.split(' ')[4] ?? ''] : []));
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'splenium-volumes-'));
    fstab = join(root, 'fstab');
    await Promise.all([
      ...['default', 'gpu'].map((group) => mkdir(join(root, group))),
      writeFile(fstab, '# ours\n'),
    ]);
    manager = await SmallManager.start();
    const store = manager.keyValueStore();
    await store.write([
      { type: 'put', key: '/sorna/local/volumes/_mount', value: join(root, 'default') },
      { type: 'put', key: '/sorna/local/sgroup/gpu/volumes/_mount', value: join(root, 'gpu') },
    ]);
    await store.close();
    daemon = await TestDaemon.prepare({ toml: manager.toml });
    const toml = await readFile(daemon.configPath, 'utf8');
    await writeFile(
      daemon.configPath,
      toml.replace('[agent]\n', '[agent]\ncohabiting-storage-proxy = false\n'),
    );
    await daemon.resume();
    manager.connect(daemon);
  }, 180_000);
  afterAll(async () => {
    for (const path of (await mounted()).reverse()) execFileSync('umount', ['-l', path]);
    await daemon.dispose();
    await manager.close();
    await rm(root, { recursive: true });
  }, 120_000);

  /** Said until each agent has answered: a node may serve a moment before it listens, and every request can be repeated. */
  const asked = async (name: string, fields: readonly unknown[], answer: readonly unknown[]) => {
    const writer = manager.database(4);
    try {
      await eventually(async () => {
        await writer.publish(
          'events_all',
          JSON.stringify({
            name,
            source: 'storage-proxy',
            args: Buffer.from(createCodec().pack(fields)).toString('base64'),
          }),
        );
        for (const agentId of daemon.agentIds)
          expect(manager.broadcasts).toContainEqual({
            name: name === 'do_volume_mount' ? 'volume_mounted' : 'volume_unmounted',
            source: agentId,
            args: [agentId, 'agent', ...answer],
          });
      }, WAIT);
    } finally {
      writer.disconnect();
    }
  };
  const mountFields = (directory: string, more: { fsType?: string; fstab?: string } = {}) => [
    ...[directory, 'xfs', SCOPE, 'tmpfs', more.fsType ?? 'tmpfs', 'size=1m', null],
    ...[more.fstab !== undefined, more.fstab ?? null],
  ];

  test('mounts one where the store says and enters it in fstab, and every agent tells; then takes it away', async () => {
    const path = join(root, 'default', 'one');
    await asked('do_volume_mount', mountFields('one', { fstab }), [path, SCOPE, null]);
    expect(await mounted()).toEqual([path]);
    expect(await readFile(fstab, 'utf8')).toBe(`# ours\ntmpfs ${path} tmpfs size=1m 0 0\n`);
    await asked('do_volume_unmount', ['one', 'xfs', SCOPE, null, true, fstab], [path, SCOPE, null]);
    expect(await mounted()).toEqual([]);
    expect(await readFile(fstab, 'utf8')).toBe('# ours\n');
  }, 120_000);

  test('tells what cannot be mounted, with the words of the tool', async () => {
    const failure = expect.stringMatching(/^mount failed: mount: /) as unknown;
    await asked('do_volume_mount', mountFields('two', { fsType: 'nosuchfs' }), [
      join(root, 'default', 'two'),
      SCOPE,
      failure,
    ]);
    expect(await mounted()).toEqual([]);
  }, 120_000);

  test('follows its agent to another resource group at once', async () => {
    await manager.client('i-one').call('update_scaling_group', { scaling_group: 'gpu' });
    const path = join(root, 'gpu', 'three');
    await asked('do_volume_mount', mountFields('three'), [path, SCOPE, null]);
    expect(await mounted()).toEqual([path]);
    await asked('do_volume_unmount', ['three', 'xfs', SCOPE, null, false, null], [path, SCOPE, null]);
  }, 120_000);
});
