import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import { FileStore } from '../../src/stores/file-store.js';
import { EtcdServer } from '../support/etcd-server.js';
import { ETCD_SERVER, pathOf, requirement } from '../support/requirements.js';
import { describeAgentEtcdView } from './agent-etcd-view.contract.js';
import { describeKeyValueStore } from './key-value-store.contract.js';

describe('file', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'splenium-store-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  describeKeyValueStore('FileStore', () => FileStore.open(join(directory, 'store.log'), silentLogger));
  describeAgentEtcdView('AgentEtcdView over it', () =>
    FileStore.open(join(directory, 'view.log'), silentLogger),
  );
});

const withEtcd = requirement('etcd (Debian: etcd-server)', pathOf(ETCD_SERVER) !== '')
  ? describe
  : describe.skip;

withEtcd('etcd', () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await EtcdServer.start();
  }, 90_000);
  afterAll(() => server.stop());

  const open = () => Promise.resolve(new EtcdStore({ endpoints: [server.endpoint], logger: silentLogger }));
  describeKeyValueStore('EtcdStore', open);
  describeAgentEtcdView('AgentEtcdView over it', open);
});
