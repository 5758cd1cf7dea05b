import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { loadNetworkPlugins } from '../../../src/kernels/networks/load.js';
import { SessionNetworks } from '../../../src/kernels/networks/session-networks.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';

/**
 * A plugin as its author would ship it: a bridge of its own for each session, made for the first kernel on it and taken
 * away with the last. It fails at the call that the session names.
 */
const BRIDGES = `const { request } = require('node:http');
const calls = [];
module.exports = {
  apiVersion: 1,
  kind: 'network',
  calls,
  create: async ({ settings: { socket } }) => {
    const ask = (method, path, body) => new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const call = request({ socketPath: socket, method, path, headers }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
      call.on('error', reject).end(body && JSON.stringify(body));
    });
    const nameOf = ({ sessionId }) => 'fabric-' + sessionId;
    const pass = (step, { clusterHostname, networkConfig }) => {
      calls.push(step + ' ' + clusterHostname);
      if (networkConfig.fails === step) throw new Error('no ' + step + ' today');
    };
    return {
      name: 'bridges',
      join: async (member, { isPreview }) => {
        const name = nameOf(member);
        if (!isPreview) await ask('POST', '/networks/create', { Name: name, Driver: 'bridge', CheckDuplicate: true });
        pass('join', member);
        const EndpointsConfig = { [name]: { Aliases: [member.clusterHostname] } };
        return {
          mode: 'options',
          containerOptions: { HostConfig: { NetworkMode: name }, NetworkingConfig: { EndpointsConfig } },
          publishesPorts: false,
        };
      },
      prepare: async (member) => pass('prepare', member),
      expose: async (member) => {
        pass('expose', member);
        return null;
      },
      leave: async (member) => {
        // 403 while others are on it.
        await ask('DELETE', '/networks/' + nameOf(member));
        pass('leave', member);
      },
    };
  },
};`;

await describeWithEngine('a network plugin on a real engine', (engine) => {
  let volume: string;
  let directory: string;
  let on: EngineBench;
  let calls: string[];
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    volume = await runnerVolumeOf(engine);
    directory = await mkdtemp(join(tmpdir(), 'splenium-bridges-'));
    const at = join(directory, 'node_modules', 'bridges');
    await mkdir(at, { recursive: true });
    await writeFile(join(at, 'index.js'), BRIDGES);
  }, 120_000);
  afterAll(() => rm(directory, { recursive: true, force: true }));
  beforeEach(async () => {
    const plugins = await loadNetworkPlugins({
      allow: ['bridges'],
      block: [],
      resolveFrom: directory,
      settingsOf: () => ({ socket: engine.socketPath }),
      logger: silentLogger,
    });
    const at = join(directory, 'node_modules', 'bridges', 'index.js');
    const factory = (await import(at)) as { readonly default: { readonly calls: string[] } };
    calls = factory.default.calls;
    calls.length = 0;
    on = await EngineBench.start(engine, volume, { networks: new SessionNetworks(plugins) });
  });
  afterEach(() => on.stop(), 120_000);

  const member = (
    clusterHostname: string,
    { sessionId }: Pick<KernelCreationRequest, 'sessionId'>,
    fails?: string,
  ): KernelCreationRequest => {
    const made = busyboxRequest({
      sessionId,
      config: { clusterHostname, clusterRole: clusterHostname.slice(0, -1) },
    });
    const networkConfig = { mode: 'bridges', ...(fails === undefined ? {} : { fails }) };
    return { ...made, cluster: { ...made.cluster, mode: 'single-node', size: 2, networkConfig } };
  };
  const networks = async () =>
    (await engine.docker.listNetworks()).flatMap(({ Name }) => (Name.startsWith('fabric-') ? [Name] : []));

  test('puts the kernels of a cluster session where they find each other, and is left by each', async () => {
    const main = member('main1', busyboxRequest());
    const sub = member('sub1', main);
    await on.create(main);
    await on.create(sub);
    const name = `fabric-${main.sessionId}`;
    const { NetworkSettings } = await on.inspect(sub);
    expect(Object.keys(NetworkSettings.Networks)).toEqual([name]);
    expect(await on.exec(main, 'nslookup', 'sub1')).toContain(NetworkSettings.Networks[name]?.IPAddress);
    const each = (hostname: string) => ['join', 'prepare', 'expose'].map((call) => `${call} ${hostname}`);
    expect(calls).toEqual([...each('main1'), ...each('sub1')]);
    await on.restart(sub);
    expect(await on.exec(sub, 'nslookup', 'main1')).toContain(
      (await on.inspect(main)).NetworkSettings.Networks[name]?.IPAddress,
    );
    expect(calls.slice(6)).toEqual(['leave sub1', ...each('sub1')]);
    await on.destroy(main);
    expect(await networks()).toEqual([name]);
    await on.destroy(sub);
    expect(calls.slice(10)).toEqual(['leave main1', 'leave sub1']);
    expect(await networks()).toEqual([]);
  }, 120_000);

  test.each(['join', 'prepare', 'expose'])(
    'that fails at %s fails the creation, and nothing is left',
    async (step) => {
      const request = member('main1', busyboxRequest(), step);
      await expect(on.create(request)).rejects.toThrow(`no ${step} today`);
      expect(calls.at(-1)).toBe('leave main1');
      expect(await networks()).toEqual([]);
      expect(on.agent.kernels.has(request.kernelId)).toBe(false);
      expect(on.bench.events.named('kernel_terminated')).toHaveLength(1);
    },
    120_000,
  );

  test('that fails to let a kernel go holds up nothing', async () => {
    const request = member('main1', busyboxRequest(), 'leave');
    await on.create(request);
    await on.destroy(request);
    expect(on.agent.kernels.has(request.kernelId)).toBe(false);
    expect(await networks()).toEqual([]);
  }, 120_000);
});
