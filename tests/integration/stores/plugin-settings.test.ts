import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/core/clock.js';
import { ValueError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { PluginSettings, type PluginTexts } from '../../../src/daemon/plugin-settings.js';
import { followedDevices } from '../../../src/daemon/resources.js';
import { AgentEtcdView } from '../../../src/stores/agent-etcd-view.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import { FileStore } from '../../../src/stores/file-store.js';
import type { KeyValueStore } from '../../../src/stores/key-value-store.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { ETCD_SERVER, pathOf, requirement } from '../../support/requirements.js';

interface OpenedStore {
  readonly store: KeyValueStore;
  readonly close: () => Promise<void>;
}

const stores: [string, () => Promise<OpenedStore>][] = [
  [
    'the file store',
    async () => {
      const directory = await mkdtemp(join(tmpdir(), 'splenium-plugin-settings-'));
      const store = await FileStore.open(join(directory, 'store.json'), silentLogger);
      const close = async () => {
        await store.close();
        await rm(directory, { recursive: true });
      };
      return { store, close };
    },
  ],
];
if (requirement('etcd', pathOf(ETCD_SERVER) !== ''))
  stores.push([
    'etcd',
    async () => {
      const server = await EtcdServer.start();
      const store = new EtcdStore({ endpoints: [server.endpoint], logger: silentLogger });
      const close = async () => {
        await store.close();
        await server.stop();
      };
      return { store, close };
    },
  ]);

describe.each(stores)('settings of device plugins in %s', (_name, open) => {
  let opened: OpenedStore;
  let view: AgentEtcdView;
  let followed: PluginSettings | undefined;
  beforeEach(async () => {
    opened = await open();
    view = new AgentEtcdView({
      store: opened.store,
      namespace: 'local',
      agentId: 'i-one',
      scalingGroup: () => 'default',
    });
  }, 90_000);
  afterEach(async () => {
    await followed?.close();
    followed = undefined;
    await opened.close();
  });

  const follow = (keys: readonly string[], devices: Record<string, Record<string, unknown>> = {}) => {
    const given: { readonly key: string; readonly settings: PluginTexts }[] = [];
    const log = new RecordedLog();
    followed = new PluginSettings({
      group: 'accelerator',
      started: followedDevices({ devices, plugins: { cuda: { device_mask: '0' } } }, keys),
      view,
      plugins: {
        updateSettings: (key, _before, settings) => {
          if (settings['refused'] !== undefined) return Promise.reject(new ValueError('not that'));
          given.push({ key, settings });
          return Promise.resolve(settings['quantum_size'] === undefined ? [] : ['quantum_size']);
        },
      },
      clock: systemClock,
      logger: log,
    });
    return { given, log };
  };
  const put = (key: string, value: string) => view.put(`config/plugins/accelerator/${key}`, value);

  test('what changed is handed over as a whole, and nothing else is', async () => {
    await put('cuda/device_mask', '0');
    const { given } = follow(['cpu', 'mem', 'cuda', 'npu']);
    await put('npu/cards', '2');
    await eventually(() => {
      expect(given).toEqual([{ key: 'npu', settings: { cards: '2' } }]);
    });
    await put('cuda/extra', 'x');
    await eventually(() => {
      expect(given.at(-1)).toEqual({ key: 'cuda', settings: { device_mask: '0', extra: 'x' } });
    });
    await view.deletePrefix('config/plugins/accelerator/cuda/');
    await eventually(() => {
      expect(given.at(-1)).toEqual({ key: 'cuda', settings: {} });
    });
    expect(given).toHaveLength(3);
  });

  test('what was written between the start of the plugins and that of the watch is not missed', async () => {
    await put('cuda/device_mask', '1');
    const { given } = follow(['cuda']);
    await eventually(() => {
      expect(given).toEqual([{ key: 'cuda', settings: { device_mask: '1' } }]);
    });
  });

  test('what needs a restart and what is refused is told to the log', async () => {
    await put('cuda/device_mask', '0');
    const { given, log } = follow(['cuda']);
    await put('cuda/quantum_size', '0.5');
    await eventually(() => {
      expect(log.lines.map(({ message }) => message)).toContain(
        'settings of a device plugin have changed; some take effect after a restart',
      );
    });
    await put('cuda/refused', 'yes');
    await eventually(() => {
      expect(log.lines.map(({ message }) => message)).toContain(
        'a device plugin refuses its new settings and goes on with those it had',
      );
    });
    expect(given).toHaveLength(1);
  });

  test('a plugin whose settings stand in the local file does not look at the store', async () => {
    const { given } = follow(['cuda', 'npu'], { cuda: { device_mask: '0' } });
    await put('cuda/device_mask', '1');
    await put('npu/cards', '2');
    await eventually(() => {
      expect(given).toEqual([{ key: 'npu', settings: { cards: '2' } }]);
    });
  });
});
