import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import { SmallManager } from '../../support/manager/small-manager.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const WAIT = { timeoutMs: 60_000 };

/** Writes down what it is given, a line each time. */
const FABRIC = `const { appendFileSync } = require('node:fs');
const note = (what, settings) => appendFileSync('settings.log', JSON.stringify([what, settings]) + '\\n');
module.exports = {
  apiVersion: 1,
  kind: 'network',
  create: async ({ settings }) => {
    note('create', settings);
    return {
      name: 'fabric',
      join: async () => ({ mode: 'options', containerOptions: {}, publishesPorts: false }),
      updateSettings: async (settings) => {
        note('update', settings);
        if (settings.uplink === 'refused') throw new Error('there is no such uplink');
        return [];
      },
    };
  },
};`;

(available ? test : test.skip)(
  'a network plugin has its settings from etcd and is given those that change, its agent’s own too',
  async () => {
    const manager = await SmallManager.start();
    const store = manager.keyValueStore();
    const put = (key: string, value: string) =>
      store.write([{ type: 'put', key: `/sorna/local/${key}`, value }]);
    await put('config/plugins/network_agent/fabric/uplink', 'eth1');
    const daemon = await TestDaemon.prepare({
      agentIds: ['i-one'],
      toml: `${manager.toml}[splenium.networks.fabric]\npackage = "splenium-network-plugin-fabric"\n`,
    });
    try {
      const at = join(daemon.directory, 'node_modules', 'splenium-network-plugin-fabric');
      await mkdir(at, { recursive: true });
      await writeFile(join(at, 'index.js'), FABRIC);
      await daemon.resume();
      const given = async () => {
        const text = await readFile(join(daemon.directory, 'settings.log'), 'utf8');
        return text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as unknown);
      };
      expect(await given()).toEqual([['create', { uplink: 'eth1' }]]);
      await put('config/plugins/network_agent/fabric/uplink', 'eth2');
      await eventually(async () => {
        expect((await given()).slice(1)).toEqual([['update', { uplink: 'eth2' }]]);
      }, WAIT);
      await put('config/plugins/network_agent/fabric/uplink', 'refused');
      await eventually(() => {
        expect(daemon.log).toContain(
          'a network plugin refuses its new settings and goes on with those it had',
        );
      }, WAIT);
      expect(await daemon.stop()).toBe(0);
      // The node's own scope wins, as for everything that is read merged.
      await put('nodes/agents/i-one/config/plugins/network_agent/fabric/uplink', 'own');
      await daemon.resume();
      expect((await given()).at(-1)).toEqual(['create', { uplink: 'own' }]);
    } finally {
      await daemon.dispose();
      await store.close();
      await manager.close();
    }
  },
  180_000,
);
