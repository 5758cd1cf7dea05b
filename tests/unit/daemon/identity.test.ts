import { hostname } from 'node:os';
import { identifyNode } from '../../../src/daemon/identity.js';
import { silentLogger } from '../../../src/core/logger.js';

const AWS: Readonly<Record<string, string>> = {
  '/latest/meta-data/': 'ami-id\ninstance-id\n',
  '/latest/meta-data/instance-id': 'i-0abc',
  '/latest/meta-data/local-ipv4': '172.31.0.5',
  '/latest/meta-data/instance-type': 'p4d.24xlarge',
  '/latest/dynamic/instance-identity/document': '{"region": "ap-northeast-2"}',
};
const aws = (url: string) => {
  const page = AWS[new URL(url).pathname];
  return page === undefined ? Promise.reject(new Error('404')) : Promise.resolve(page);
};
const identify = (
  cloudDetection: boolean,
  fetchText: (url: string) => Promise<string>,
  env: Readonly<Record<string, string>> = {},
) => identifyNode({ config: { cloudDetection }, env, logger: silentLogger, fetchText });

test('nobody is asked unless the configuration says so', async () => {
  const asked: string[] = [];
  const identity = await identify(false, (url) => {
    asked.push(url);
    return aws(url);
  });
  expect(asked).toEqual([]);
  expect(identity).toEqual({
    id: `i-${hostname()}`,
    instanceType: 'default',
    region: 'local',
    cloudAddress: null,
  });
});

test('the cloud’s answer wins', async () => {
  expect(await identify(true, aws, { BACKEND_REGION: 'mine' })).toMatchObject({
    instanceType: 'p4d.24xlarge',
    region: 'amazon/ap-northeast-2',
    cloudAddress: '172.31.0.5',
  });
});

test('outside of a cloud the machine speaks for itself', async () => {
  const nobody = () => Promise.reject(new Error('no route'));
  expect(await identify(true, nobody, { BACKEND_REGION: 'mine' })).toMatchObject({
    region: 'mine',
    cloudAddress: null,
  });
});
