import { join } from 'node:path';
import type { TestDaemon } from '../support/daemon.js';
import { describeWithEngine } from '../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../support/docker-images.js';
import { EngineProxy } from '../support/engine-proxy.js';
import { describeKilledDaemon, polled, type Watch } from './killed-daemon.contract.js';
import { KernelFilesOnDisk } from './kernel-files.js';

/** Calls that change something are cut off on either side of the engine's work, questions once. */
const CREATION_CALLS = [
  'GET /images/ID/json',
  'POST /containers/create',
  'POST /containers/create:after',
  'POST /containers/ID/start',
  'POST /containers/ID/start:after',
  'GET /containers/ID/json',
];
const DESTRUCTION_CALLS = [
  'POST /containers/ID/kill',
  'POST /containers/ID/kill:after',
  'GET /containers/ID/logs',
  'DELETE /containers/ID',
  'DELETE /containers/ID:after',
];
/** Made from time to time, whatever happens to kernels. */
const OTHER_CALLS = ['GET /containers/json', 'GET /images/json', 'GET /_ping', 'GET /info', 'GET /version'];

await describeWithEngine('a daemon of the docker backend, as its manager sees it', (engine) => {
  let proxy: EngineProxy;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    proxy = await EngineProxy.start(join(engine.directory, 'kills.sock'), engine.socketPath);
  }, 60_000);
  afterAll(() => proxy.stop());

  const call = (name: string) =>
    [
      name.endsWith(':after') ? `the engine has done ${name.slice(0, -6)}` : `it asks the engine ${name}`,
      (): Watch => {
        const hang = proxy.hang(name);
        return {
          reached: hang.entered,
          release: () => {
            hang.release();
            proxy.heal();
          },
        };
      },
    ] as const;
  const recorded =
    (state: string) =>
    (kernelId: string, daemon: TestDaemon): Watch => {
      const files = new KernelFilesOnDisk(daemon, 'i-one', kernelId);
      return polled(() => files.recordedState === state);
    };

  describeKilledDaemon({
    daemon: () => ({ engine: proxy }),
    image: BUSYBOX_IMAGE,
    labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'app' },
    remains: async () => (await engine.docker.listContainers({ all: true })).map(({ Names }) => Names),
    forgotten: () => {
      const named = new Set([...CREATION_CALLS, ...DESTRUCTION_CALLS, ...OTHER_CALLS]);
      return [...new Set(proxy.calls)].filter((name) => !named.has(name));
    },
    table: {
      creation: [
        ...CREATION_CALLS.map(call),
        ['the journal says running', recorded('running')],
        ['the manager has heard of it', null],
      ],
      destruction: [...DESTRUCTION_CALLS.map(call), ['the journal has forgotten it', recorded('')]],
    },
  });
});
