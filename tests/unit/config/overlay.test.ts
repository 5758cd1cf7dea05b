import type { DaemonConfig, Overlay } from '../../../src/config/index.js';
import { MINIMAL, load } from './config-file.js';

const LOCAL = `${MINIMAL}[api]
pull-timeout = 10
push-timeout = 20
[container-logs]
max-length = "1M"
[kernel-lifecycles]
init-timeout-sec = 5
[container]
kernel-uid = 1
[redis]
addr = "local:6379"
password = "local-password"
[plugins.cuda]
a = 1
`;

async function overlaid(overlay: Overlay, text = LOCAL) {
  const loaded = await load(text);
  return { before: loaded.config, ...loaded.withOverlay(overlay) };
}

describe('what etcd lays over the file', () => {
  test.each<[string, Overlay, (config: DaemonConfig) => unknown, unknown]>([
    [
      'redis is replaced as a whole',
      { 'config/redis': { addr: 'shared:6379' } },
      ({ redis }) => [redis.addr, redis.password],
      [{ host: 'shared', port: 6379 }, null],
    ],
    [
      'redis in snake case, with texts for numbers',
      {
        'config/redis': {
          sentinel: 'a:1,b:2',
          service_name: 'm',
          redis_helper_config: { socket_timeout: '7' },
        },
      },
      ({ redis }) => [redis.sentinels.length, redis.serviceName, redis.socketTimeoutMs],
      [2, 'm', 7000],
    ],
    [
      'an empty prefix does not clear',
      { 'config/redis': {}, 'config/agent': {}, 'config/plugins/accelerator': {} },
      ({ redis, api, plugins }) => [redis.password, api.pullTimeoutMs, plugins],
      ['local-password', 10_000, { cuda: { a: 1 } }],
    ],
    [
      'agent tables are replaced together; what is left out falls back to the defaults',
      { 'config/agent': { api: { 'pull-timeout': '30' } } },
      ({ api, containerLogs, agents }) => [
        api.pullTimeoutMs,
        api.pushTimeoutMs,
        containerLogs.maxLengthBytes,
        agents[0]?.kernelLifecycles.initTimeoutMs,
      ],
      [30_000, null, 10_485_760, 60_000],
    ],
    [
      'ids of kernels, each only if present',
      { 'config/container': { 'kernel-gid': '1000' } },
      ({ agents }) => [agents[0]?.kernelUid, agents[0]?.kernelGid],
      [1, 1000],
    ],
    [
      'plugins are replaced as a whole',
      { 'config/plugins/accelerator': { rocm: { b: '2' } } },
      ({ plugins }) => plugins,
      { rocm: { b: '2' } },
    ],
  ])('%s', async (_name, overlay, read, expected) => {
    const { config, warnings } = await overlaid(overlay);
    expect(warnings).toEqual([]);
    expect(read(config)).toEqual(expected);
  });

  test.each<[string, Overlay, string]>([
    [
      'a bad value',
      { 'config/agent': { api: { 'pull-timeout': 'soon' } } },
      'etcd: agent-config error: api.pull-timeout',
    ],
    [
      'a table that is none',
      { 'config/agent': { api: 'x' } },
      'etcd: agent-config error: api: expected a table',
    ],
    [
      'an id that is none',
      { 'config/container': { 'kernel-uid': [1] } },
      'container.kernel-uid: value must be either',
    ],
  ])('%s in it changes nothing but warns', async (_name, overlay, message) => {
    const { before, config, warnings } = await overlaid(overlay);
    expect(warnings).toEqual([
      expect.objectContaining({ message: expect.stringContaining(message) as string }),
    ]);
    expect({ ...config, views: [] }).toEqual({ ...before, views: [] });
  });

  test('a bad redis address is refused with its origin', async () => {
    await expect(overlaid({ 'config/redis': { addr: 'x' } })).rejects.toMatchObject({
      problems: [{ key: 'redis.addr', origin: 'etcd config/redis' }],
    });
  });

  test('every agent sees it, but its own key wins', async () => {
    const text = `${LOCAL}[[agents]]\n[agents.agent]\nid = "i-one"\n[agents.container]\nkernel-uid = 7\n[[agents]]\n[agents.agent]\nid = "i-two"\n`;
    const { config } = await overlaid({ 'config/container': { 'kernel-uid': '2000' } }, text);
    expect(config.agents.map(({ kernelUid }) => kernelUid)).toEqual([7, 2000]);
  });

  test('the origin is shown', async () => {
    const { config } = await overlaid({ 'config/redis': { addr: 'shared:6379' } });
    expect(config.views[0]?.entries.find(({ key }) => key === 'redis.addr')).toMatchObject({
      origin: 'etcd config/redis',
    });
  });
});
