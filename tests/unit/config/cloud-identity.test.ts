import { azureSuffix, detectCloud, gcpSuffix } from '../../../src/config/cloud-identity.js';
import type { FetchText } from '../../../src/config/cloud-identity.js';

/** A metadata service that knows these paths, and hands out only what its header opens. */
function service(pages: Readonly<Record<string, string>>, header?: string): FetchText {
  return (url, headers) => {
    const path = url.replace('http://169.254.169.254', '').replace(/\?.*/, '');
    const page = header === undefined || header in headers ? pages[path] : undefined;
    return page === undefined ? Promise.reject(new Error('404')) : Promise.resolve(page);
  };
}

const detect = (fetchText: FetchText) => detectCloud({ fetchText, hostname: 'node1', timeoutMs: 20_000 });

const AWS = '/latest/meta-data/';
const AZURE = '/metadata/instance';
const GCP = '/computeMetadata/v1/instance/';

test('AWS', async () => {
  const pages = {
    [AWS]: 'ami-id\ninstance-id\n',
    [`${AWS}instance-id`]: 'i-0abc\n',
    [`${AWS}local-ipv4`]: '172.31.0.5',
    [`${AWS}instance-type`]: 'p4d.24xlarge',
    '/latest/dynamic/instance-identity/document': '{"region": "ap-northeast-2"}',
  };
  expect(await detect(service(pages))).toEqual({
    provider: 'aws',
    id: 'i-0abc',
    address: '172.31.0.5',
    instanceType: 'p4d.24xlarge',
    region: 'amazon/ap-northeast-2',
  });
});

test('Azure', async () => {
  const pages = {
    [`${AZURE}/compute`]: JSON.stringify({
      vmId: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
      name: 'gpu',
      vmSize: 'Standard_ND96',
      location: 'koreacentral',
    }),
    [`${AZURE}/network`]: '{"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.0.0.4"}]}}]}',
  };
  expect(await detect(service(pages, 'Metadata'))).toEqual({
    provider: 'azure',
    id: 'i-gpu-2k5eczvg',
    address: '10.0.0.4',
    instanceType: 'Standard_ND96',
    region: 'azure/koreacentral',
  });
});

test('GCP', async () => {
  const pages = {
    [`${GCP}id`]: '1234567890123456789',
    [`${GCP}name`]: 'gpu',
    [`${GCP}network-interfaces/0/ip`]: '10.178.0.2',
    [`${GCP}machine-type`]: 'projects/1/machineTypes/a2-highgpu-1g',
    [`${GCP}zone`]: 'projects/1/zones/asia-northeast3-a',
  };
  expect(await detect(service(pages, 'Metadata-Flavor'))).toEqual({
    provider: 'gcp',
    id: 'i-gpu-6r66taiv',
    address: '10.178.0.2',
    instanceType: 'a2-highgpu-1g',
    region: 'google/asia-northeast3-a',
  });
});

test.each<[string, Readonly<Record<string, string>>, unknown]>([
  [
    'AWS',
    { [AWS]: 'instance-id' },
    { id: 'i-node1', address: '127.0.0.1', instanceType: 'unknown', region: 'amazon/unknown' },
  ],
  [
    'Azure',
    { [`${AZURE}/compute`]: '{"vmId": "not a uuid", "name": "x"}' },
    { id: 'i-node1', address: '127.0.0.1', instanceType: 'unknown', region: 'azure/unknown' },
  ],
  [
    'GCP',
    { [`${GCP}id`]: '5' },
    { id: 'i-node1', address: '127.0.0.1', instanceType: 'unknown', region: 'google/unknown' },
  ],
])('%s that tells nothing more', async (_name, pages, expected) => {
  expect(await detect(service(pages))).toMatchObject(expected as object);
});

test.each<[string, Readonly<Record<string, string>>]>([
  ['nothing answers', {}],
  ['a captive portal answers', { [AWS]: '<html>', [`${AZURE}/compute`]: '<html>', [`${GCP}id`]: '<html>' }],
])('%s: nobody’s cloud', async (_name, pages) => {
  expect(await detect(service(pages))).toBeNull();
});

test('a service that never answers ends with the time limit', async () => {
  const silent: FetchText = (_url, _headers, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(new Error('aborted'));
      });
    });
  expect(await detectCloud({ fetchText: silent, hostname: 'node1', timeoutMs: 10 })).toBeNull();
});

test('short names', () => {
  expect(azureSuffix('02aab8a4-74ef-476e-8182-f6d2ba4166a6')).toBe('2k5eczvg');
  expect(azureSuffix('x')).toBeNull();
  expect(gcpSuffix(1_234_567_890_123_456_789n)).toBe('6r66taiv');
});
