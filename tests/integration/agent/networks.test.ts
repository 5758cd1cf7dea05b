import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { loadNetworkPlugins } from '../../../src/kernels/networks/load.js';
import { SessionNetworks } from '../../../src/kernels/networks/session-networks.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { AgentBench, NEVER } from './agent-bench.js';

/** A plugin as its author would ship it; it answers with what it is told and keeps the calls that it has got. */
const FABRIC = `const calls = [];
module.exports = {
  apiVersion: 1,
  kind: 'network',
  calls,
  create: async () => ({
    name: 'fabric',
    join: async ({ clusterHostname, networkConfig }, { isPreview }) => {
      calls.push(isPreview ? 'preview' : 'join');
      if (networkConfig.refuse) throw new Error('no address is left');
      return {
        mode: 'options',
        containerOptions: { HostConfig: { NetworkMode: networkConfig.network_name } },
        publishesPorts: true,
      };
    },
    prepare: async (member, ports) => void calls.push('prepare ' + ports.map(({ name }) => name).join()),
    expose: async () => {
      calls.push('expose');
      return { host: '203.0.113.7', services: { jupyter: { 8070: 443 } } };
    },
    leave: async () => void calls.push('leave'),
    close: async () => void calls.push('close'),
  }),
};`;

let directory: string;
let networks: SessionNetworks;
let calls: readonly string[];
let runners: FakeRunners;
let backend: FaultyBackend;
let bench: AgentBench;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-networks-'));
  const at = join(directory, 'node_modules', 'fabric');
  await mkdir(at, { recursive: true });
  await writeFile(join(at, 'index.js'), FABRIC);
  const options = { allow: ['fabric'], block: [], resolveFrom: directory, settingsOf: () => ({}) };
  networks = new SessionNetworks(await loadNetworkPlugins({ ...options, logger: silentLogger }));
  const factory = (await import(join(at, 'index.js'))) as { readonly default: { readonly calls: string[] } };
  ({ calls } = factory.default);
  runners = new FakeRunners();
  backend = new FaultyBackend();
  backend.endpointsOf = runners.endpointsOf;
  bench = await AgentBench.start(backend, { networks });
});
afterEach(async () => {
  await bench.stop();
  await bench.remove();
  await runners[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function request(networkConfig: Record<string, unknown> = {}) {
  const made = kernelRequest();
  return {
    ...made,
    cluster: { ...made.cluster, networkConfig: { mode: 'fabric', network_name: 'net-7', ...networkConfig } },
  };
}

test('a kernel joins by the plugin that its session names, and leaves when its container is gone', async () => {
  const made = request();
  const { kernelId, sessionId } = made;
  const [result] = await bench.agent.createKernels([made], NEVER);
  expect(backend.containersOf(kernelId)[0]?.plan.network).toEqual({
    mode: 'options',
    containerOptions: { HostConfig: { NetworkMode: 'net-7' } },
    publishesPorts: true,
  });
  expect(result?.kernelHost).toBe('203.0.113.7');
  expect(result?.servicePorts.find(({ name }) => name === 'jupyter')?.hostPorts).toEqual([443]);
  expect(calls).toEqual(['join', 'prepare replin,replout,sshd,ttyd,jupyter', 'expose']);
  await bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
  expect(calls.slice(3)).toEqual(['leave']);
});

test('a restart leaves and joins again, and answers with the ports that clients see', async () => {
  const made = request();
  const { kernelId, sessionId, imageRef } = made;
  await bench.agent.createKernels([made], NEVER);
  const answer = await bench.agent.restartKernel({ kernelId, sessionId, imageRef, updatedConfig: {} }, NEVER);
  expect(calls.slice(3)).toEqual(['leave', 'join', 'prepare replin,replout,sshd,ttyd,jupyter', 'expose']);
  expect(answer.servicePorts.find(({ name }) => name === 'jupyter')?.hostPorts).toEqual([443]);
});

test('a plugin that refuses fails the creation, which leaves nothing', async () => {
  const made = request({ refuse: true });
  await expect(bench.agent.createKernels([made], NEVER)).rejects.toThrow(/no address is left/);
  expect(backend.containersOf(made.kernelId)).toEqual([]);
  expect(calls).toEqual(['join', 'leave']);
  expect(bench.agent.examine()).toEqual([]);
});

test('a kernel whose plugin is gone after a restart of the daemon ends as any other', async () => {
  const made = request();
  const { kernelId, sessionId } = made;
  await bench.agent.createKernels([made], NEVER);
  const { directory: kept } = bench;
  await bench.stop();
  bench = await AgentBench.start(backend, { directory: kept, networks: new SessionNetworks() });
  await bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
  expect(bench.agent.examine()).toEqual([]);
  expect(backend.containersOf(kernelId)).toEqual([]);
  expect(calls.slice(3)).toEqual([]);
});

test('plugins are closed with the process', async () => {
  await networks.close(silentLogger);
  expect(calls).toEqual(['close']);
});
