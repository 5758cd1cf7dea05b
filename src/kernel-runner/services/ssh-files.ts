import { execFile } from 'node:child_process';
import { generateKeyPair } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isRecord } from './definition.js';

const BEGIN = '# The session: written anew at every start.';
const END = '# End of the session.';
const CLUSTER_PORT = 2200;
const KEY_BITS = 2048;

export interface SshPlaces {
  readonly work: string;
  readonly config: string;
  /** `dropbearmulti`; null: there is no server, so keys for one are not made. */
  readonly server: string | null;
  /** Where the server's own key goes when the agent has not given one. */
  readonly madeHostKey: string;
  /** `BACKENDAI_CLUSTER_REPLICAS`: roles with counts. */
  readonly replicas: string;
}

/**
 * Keys and hosts for SSH between kernels and from outside (spec/kernel-runner.md 4.11). @returns the server's key.
 * @throws the system's error for files that cannot be written.
 */
export async function prepareSsh(places: SshPlaces): Promise<string> {
  const { work, config, server } = places;
  const directory = join(work, '.ssh');
  const authorized = join(directory, 'authorized_keys');
  const cluster = join(config, 'ssh/id_cluster');
  const hasCluster = existsSync(cluster);
  if (hasCluster || server !== null) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
  }
  if (server !== null && !existsSync(authorized)) {
    const { publicKey, privateKey } = await makeKeyPair();
    write(authorized, `${publicKey}\n`);
    write(join(work, 'id_container'), privateKey);
  }
  if (existsSync(authorized)) chmodSync(authorized, 0o600);
  if (hasCluster) {
    const path = join(directory, 'config');
    const mapping = readText(join(config, 'ssh/port-mapping.json'));
    write(path, withSession(readText(path), clusterHosts(cluster, mapping, places.replicas)));
    const key = readText(`${cluster}.pub`).trim();
    const keys = readText(authorized);
    if (key !== '' && !keys.split('\n').includes(key))
      write(authorized, `${keys}${keys === '' || keys.endsWith('\n') ? '' : '\n'}${key}\n`);
  }
  return server === null ? places.madeHostKey : hostKey(server, places);
}

/** One block a host of the mapping, else one a role. Pure. */
export function clusterHosts(key: string, mapping: string, replicas: string): string {
  const block = (pattern: string, lines: readonly string[]): string =>
    [
      `Host ${pattern}`,
      ...[...lines, 'StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null', `IdentityFile ${key}`].map(
        (line) => `\t${line}`,
      ),
    ].join('\n');
  if (mapping !== '') {
    const hosts: unknown = JSON.parse(mapping);
    return Object.entries(isRecord(hosts) ? hosts : {})
      .map(([name, place]) => {
        const [host, port] = Array.isArray(place) ? (place as unknown[]) : [];
        return block(name, [`HostName ${String(host)}`, `Port ${String(port)}`]);
      })
      .join('\n');
  }
  return (replicas === '' ? 'main:1' : replicas)
    .split(',')
    .map((role) => block(`${role.split(':')[0] ?? ''}*`, [`Port ${String(CLUSTER_PORT)}`]))
    .join('\n');
}

/** The user's own lines stay; what an earlier start has written is replaced. Pure. */
export function withSession(text: string, hosts: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  const own = begin >= 0 && end > begin ? text.slice(0, begin) + text.slice(end + END.length + 1) : text;
  return `${own}${own === '' || own.endsWith('\n') ? '' : '\n'}${BEGIN}\n${hosts}\n${END}\n`;
}

async function hostKey(server: string, { config, madeHostKey }: SshPlaces): Promise<string> {
  const given = join(config, 'ssh/dropbear_rsa_host_key');
  if (existsSync(given)) return given;
  await promisify(execFile)(server, ['dropbearkey', '-t', 'rsa', '-s', String(KEY_BITS), '-f', madeHostKey]);
  return madeHostKey;
}

/** Both as OpenSSH reads them. */
async function makeKeyPair(): Promise<{ readonly publicKey: string; readonly privateKey: string }> {
  const pair = await promisify(generateKeyPair)('rsa', { modulusLength: KEY_BITS });
  const { n = '', e = '' } = pair.publicKey.export({ format: 'jwk' });
  const fields = [Buffer.from('ssh-rsa'), integer(e), integer(n)].map((bytes) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  return {
    publicKey: `ssh-rsa ${Buffer.concat(fields).toString('base64')} work@kernel`,
    privateKey: pair.privateKey.export({ format: 'pem', type: 'pkcs1' }).toString(),
  };
}

/** A number that is not negative starts with a zero bit. */
function integer(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function write(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 });
  chmodSync(path, 0o600);
}
