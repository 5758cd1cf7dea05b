import { isTable } from './formats.js';
import type { InstanceIdentity } from './identity.js';

/** Fetches a text; rejects for anything but status 200 and when the signal aborts. */
export type FetchText = (
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<string>;

export interface CloudIdentity extends InstanceIdentity {
  readonly provider: 'aws' | 'azure' | 'gcp';
  readonly address: string;
}

export interface CloudProbe {
  readonly fetchText: FetchText;
  readonly hostname: string;
  /** For everything together; default 1000. */
  readonly timeoutMs?: number;
}

const BASE = 'http://169.254.169.254';
const AWS = `${BASE}/latest/meta-data/`;
const AZURE = (part: string): string => `${BASE}/metadata/instance${part}?api-version=2021-02-01`;
const GCP = `${BASE}/computeMetadata/v1/`;

/**
 * Asks the metadata services of AWS, Azure and GCP at once (spec/config-and-resources.md 2.1); the first that answers
 * in its own words wins. Null: none does, so this is nobody's cloud. Attributes that do not answer fall back.
 */
export async function detectCloud(probe: CloudProbe): Promise<CloudIdentity | null> {
  const signal = AbortSignal.timeout(probe.timeoutMs ?? 1000);
  try {
    const read = await Promise.any([
      probeAws(probe, signal),
      probeAzure(probe, signal),
      probeGcp(probe, signal),
    ]);
    return await read();
  } catch {
    return null;
  }
}

type Read = () => Promise<CloudIdentity>;

async function probeAws({ fetchText, hostname }: CloudProbe, signal: AbortSignal): Promise<Read> {
  const listing = await fetchText(AWS, {}, signal);
  if (!listing.includes('instance-id')) throw new Error('not AWS');
  const read = attributeReader((path) => fetchText(`${AWS}${path}`, {}, signal));
  return async () => {
    const [id, address, instanceType, region] = await Promise.all([
      read('instance-id', `i-${hostname}`),
      read('local-ipv4', '127.0.0.1'),
      read('instance-type', 'unknown'),
      fetchText(`${BASE}/latest/dynamic/instance-identity/document`, {}, signal).then(
        (text) => textAt(parseJson(text), 'region') ?? 'unknown',
        () => 'unknown',
      ),
    ]);
    return { provider: 'aws', id, address, instanceType, region: `amazon/${region}` };
  };
}

async function probeAzure({ fetchText, hostname }: CloudProbe, signal: AbortSignal): Promise<Read> {
  const headers = { Metadata: 'true' };
  const compute = parseJson(await fetchText(AZURE('/compute'), headers, signal));
  const vmId = textAt(compute, 'vmId');
  if (vmId === null) throw new Error('not Azure');
  return async () => {
    const network = await fetchText(AZURE('/network'), headers, signal).then(parseJson, () => null);
    const name = textAt(compute, 'name');
    const suffix = azureSuffix(vmId);
    return {
      provider: 'azure',
      id: name === null || suffix === null ? `i-${hostname}` : `i-${name}-${suffix}`,
      address: textAt(network, 'interface', 0, 'ipv4', 'ipAddress', 0, 'privateIpAddress') ?? '127.0.0.1',
      instanceType: textAt(compute, 'vmSize') ?? 'unknown',
      region: `azure/${textAt(compute, 'location') ?? 'unknown'}`,
    };
  };
}

async function probeGcp({ fetchText, hostname }: CloudProbe, signal: AbortSignal): Promise<Read> {
  const headers = { 'Metadata-Flavor': 'Google' };
  const number = (await fetchText(`${GCP}instance/id`, headers, signal)).trim();
  if (!/^\d{1,20}$/.test(number)) throw new Error('not GCP');
  const read = attributeReader((path) => fetchText(`${GCP}instance/${path}`, headers, signal));
  return async () => {
    const [name, address, machine, zone] = await Promise.all([
      read('name', ''),
      read('network-interfaces/0/ip', '127.0.0.1'),
      read('machine-type', 'unknown'),
      read('zone', 'unknown'),
    ]);
    return {
      provider: 'gcp',
      id: name === '' ? `i-${hostname}` : `i-${name}-${gcpSuffix(BigInt(number))}`,
      address,
      instanceType: lastPart(machine),
      region: `google/${lastPart(zone)}`,
    };
  };
}

function attributeReader(fetchAttribute: (path: string) => Promise<string>) {
  return (path: string, fallback: string): Promise<string> =>
    fetchAttribute(path).then(
      (text) => text.trim() || fallback,
      () => fallback,
    );
}

const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Short name of an Azure machine: the last five bytes of its id; null when the id is no UUID. */
export function azureSuffix(vmId: string): string | null {
  const hex = vmId.replaceAll('-', '');
  return /^[\da-f]{32}$/i.test(hex) ? base32(Buffer.from(hex, 'hex').subarray(-5)) : null;
}

/** Short name of a GCP machine: the last five bytes of its 64-bit number. */
export function gcpSuffix(id: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, id));
  return base32(bytes.subarray(-5));
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Five bytes as eight letters. */
function base32(bytes: Buffer): string {
  let number = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (let count = 0; count < 8; count++) {
    text = (ALPHABET[Number(number & 31n)] ?? '') + text;
    number >>= 5n;
  }
  return text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** The text at a path of a parsed document; null when there is none. */
function textAt(document: unknown, ...path: readonly (string | number)[]): string | null {
  let place = document;
  for (const part of path) {
    if (typeof part === 'number') place = Array.isArray(place) ? (place[part] as unknown) : undefined;
    else place = isTable(place) ? place[part] : undefined;
  }
  return typeof place === 'string' && place !== '' ? place : null;
}
