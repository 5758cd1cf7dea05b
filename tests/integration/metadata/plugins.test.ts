import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelHandle } from '../../../src/backends/backend.js';
import type { OpaqueTables } from '../../../src/config/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { DisposalStack } from '../../../src/core/disposal.js';
import { asContainerId, parseAgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { openMetadataPlugins } from '../../../src/daemon/metadata.js';
import { StoreWait } from '../../../src/daemon/store-wait.js';
import { AggregateKernelRegistry } from '../../../src/kernels/aggregate-kernel-registry.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { MetadataServer } from '../../../src/metadata/metadata-server.js';
import { AgentEtcdView } from '../../../src/stores/agent-etcd-view.js';
import { FileStore } from '../../../src/stores/file-store.js';
import { eventually } from '../../support/eventually.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { load } from '../../unit/config/config-file.js';

/** A plugin as its author would ship it. */
const LICENSE = `module.exports = {
  apiVersion: 1,
  kind: 'metadata',
  create: async ({ settings }) => {
    let { server } = settings;
    return {
      name: 'license',
      paths: ['server', 'seat/holder', 'broken', 'thrown'],
      read: async (path, kernel) => {
        if (path === 'broken') return 'no value';
        if (path === 'thrown') throw new Error('the licence server is away');
        if (path === 'seat/holder')
          return { contentType: 'application/json', body: JSON.stringify(kernel) };
        return server === undefined ? null : { contentType: 'text/plain', body: server };
      },
      updateSettings: async (settings) => {
        server = settings.server;
        return settings.seats === undefined ? [] : ['seats'];
      },
      close: async () => { globalThis.licenseClosed = true; },
    };
  },
};`;

const AGENT = parseAgentId('i-one');
const ADDRESSES = ['127.0.0.1', '127.0.0.2'] as const;

let directory: string;
let store: FileStore;
let view: AgentEtcdView;
let parts: DisposalStack;
let log: RecordedLog;
let server: MetadataServer;
let handles: ReadonlyMap<string, KernelHandle>;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-metadata-'));
  const at = join(directory, 'node_modules', 'splenium-metadata-plugin-license');
  await mkdir(at, { recursive: true });
  await writeFile(join(at, 'index.js'), LICENSE);
  store = await FileStore.open(join(directory, 'store.log'), silentLogger);
  view = new AgentEtcdView({ store, namespace: 'local', agentId: 'i-one', scalingGroup: () => 'default' });
  parts = new DisposalStack();
  log = new RecordedLog();
});
afterEach(async () => {
  await parts.close();
  await store.close();
  await rm(directory, { recursive: true });
});

async function open(metadataPlugins: OpaqueTables): Promise<void> {
  const { config } = await load('[agent]\nbackend = "process"\nrpc-listen-addr = "127.0.0.1:6001"\n');
  const plugins = await openMetadataPlugins({
    config: { ...config, metadataPlugins },
    cwd: directory,
    view,
    wait: new StoreWait({
      signal: new AbortController().signal,
      deadlineMs: null,
      clock: systemClock,
      logger: log,
    }),
    parts,
    logger: log,
  });
  const kernels = new AggregateKernelRegistry();
  const registry = new KernelRegistry(AGENT, log);
  kernels.attach(registry);
  handles = new Map(
    ADDRESSES.map((address) => {
      const kernel = Kernel.requested(AGENT, kernelRequest(), 0);
      const handle: KernelHandle = {
        version: 1,
        backend: 'docker',
        agentId: AGENT,
        kernelId: kernel.id,
        sessionId: kernel.sessionId,
        containerId: asContainerId(`container-${address}`),
        state: {},
      };
      kernel.learn({ handle });
      registry.add(kernel);
      return [address, handle];
    }),
  );
  server = await MetadataServer.open({
    host: '0.0.0.0',
    port: 0,
    backend: { kernelAt: (address) => Promise.resolve(handles.get(address) ?? null) },
    kernels,
    environmentOf: () => Promise.resolve(null),
    sandboxOf: () => 'docker',
    plugins,
    logger: log,
  });
  parts.defer('server', () => server.close());
}

const ask = (path: string, localAddress: string = ADDRESSES[0]) =>
  new Promise<readonly [status: number, body: string, contentType: unknown]>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, localAddress }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        resolve([response.statusCode ?? 0, body, response.headers['content-type']]);
      });
    });
    sent.on('error', reject);
    sent.end();
  });

const PACKAGE = { license: { package: 'splenium-metadata-plugin-license' } };

test('its values are below its name, and each kernel is told of itself', async () => {
  await open({ license: { ...PACKAGE.license, server: 'licences.example.org' } });
  expect((await ask('/latest'))[1]).toBe('meta-data/\nextension/license/');
  expect((await ask('/latest/extension'))[1]).toBe('license/');
  expect((await ask('/latest/extension/license'))[1]).toBe('broken\nseat/\nserver\nthrown');
  expect(await ask('/latest/extension/license/server')).toEqual([200, 'licences.example.org', 'text/plain']);
  for (const address of ADDRESSES) {
    const [status, body, contentType] = await ask('/latest/extension/license/seat/holder', address);
    expect([status, contentType]).toEqual([200, 'application/json']);
    expect(JSON.parse(body)).toEqual({
      agentId: AGENT,
      kernelId: handles.get(address)?.kernelId,
      sessionId: handles.get(address)?.sessionId,
      containerId: `container-${address}`,
      address,
      clusterRole: 'main',
      clusterHostname: expect.any(String) as unknown,
    });
  }
  expect((await ask('/latest/extension/license/server', '127.0.0.3'))[0]).toBe(403);
  expect((await ask('/latest/extension/license/none'))[0]).toBe(404);
  await parts.close();
  expect('licenseClosed' in globalThis).toBe(true);
});

test('what it throws or what is no value fails that value alone', async () => {
  await open(PACKAGE);
  for (const path of ['broken', 'thrown'])
    expect((await ask(`/latest/extension/license/${path}`))[0]).toBe(503);
  expect((await ask('/latest/meta-data/sandbox'))[1]).toBe('docker');
  expect(
    log.lines
      .filter(({ message }) => message === 'a request for metadata failed')
      .map(({ fields }) => String(fields['error'])),
  ).toEqual([expect.stringContaining('no contentType'), expect.stringContaining('licence server is away')]);
});

test('without settings in the file it has those of the store, and follows them', async () => {
  const put = (key: string, value: string) => view.put(`config/plugins/metadata_app/license/${key}`, value);
  await put('server', 'first.example.org');
  await open(PACKAGE);
  expect((await ask('/latest/extension/license/server'))[1]).toBe('first.example.org');
  await put('server', 'second.example.org');
  await eventually(async () => {
    expect((await ask('/latest/extension/license/server'))[1]).toBe('second.example.org');
  });
  await put('seats', '4');
  await eventually(() => {
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        message: 'settings of a metadata plugin have changed; some take effect after a restart',
        fields: { plugin: 'license', changed: ['seats'], waitingForRestart: ['seats'] },
      }),
    );
  });
  await view.deletePrefix('config/plugins/metadata_app/license/');
  await eventually(async () => {
    expect((await ask('/latest/extension/license/server'))[0]).toBe(404);
  });
});

test('a package that is no metadata plugin is left out with a word, and the others are there', async () => {
  const at = join(directory, 'node_modules', 'other');
  await mkdir(at);
  await writeFile(join(at, 'index.js'), 'module.exports = { apiVersion: 1, kind: "network", create() {} };');
  await open({ ...PACKAGE, other: { package: 'other' }, absent: { package: 'absent' } });
  expect((await ask('/latest/extension'))[1]).toBe('license/');
  expect(log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields['plugin'])).toEqual([
    ...['other', 'absent'],
  ]);
});
