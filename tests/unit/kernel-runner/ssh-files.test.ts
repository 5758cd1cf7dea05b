import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtInService, portOf } from '../../../src/kernel-runner/services/built-in.js';
import { clusterHosts, prepareSsh, withSession } from '../../../src/kernel-runner/services/ssh-files.js';

const KEY = '/home/config/ssh/id_cluster';

test('with a mapping each host has a block, without one each role', () => {
  expect(
    clusterHosts(KEY, '{"main1": ["10.0.0.1", 30002], "sub1": ["10.0.0.2", 30003]}', 'main:1,sub:1'),
  ).toBe(
    [
      'Host main1',
      '\tHostName 10.0.0.1',
      '\tPort 30002',
      '\tStrictHostKeyChecking no',
      '\tUserKnownHostsFile /dev/null',
      `\tIdentityFile ${KEY}`,
      'Host sub1',
      '\tHostName 10.0.0.2',
      '\tPort 30003',
      '\tStrictHostKeyChecking no',
      '\tUserKnownHostsFile /dev/null',
      `\tIdentityFile ${KEY}`,
    ].join('\n'),
  );
  const roles = clusterHosts(KEY, '', 'main:1,sub:3');
  expect(roles).toMatch(/^Host main\*\n\tPort 2200\n/);
  expect(roles).toContain('Host sub*\n\tPort 2200\n');
  expect(clusterHosts(KEY, '', '')).toMatch(/^Host main\*\n/);
});

test('what is written at a start replaces what an earlier start has written, and nothing else', () => {
  const first = withSession('Host mine\n\tPort 22', 'Host a');
  expect(withSession(`${first}Host later\n`, 'Host b')).toBe(
    withSession('Host mine\n\tPort 22\nHost later\n', 'Host b'),
  );
  expect(withSession('', 'Host a')).toMatch(/^# .*\nHost a\n# .*\n$/);
});

describe('keys', () => {
  let root: string;
  const places = () => ({
    work: join(root, 'work'),
    config: join(root, 'config'),
    server: join(root, 'dropbearmulti'),
    madeHostKey: join(root, 'host-key'),
    replicas: 'main:1',
  });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spl-ssh-'));
    await mkdir(join(root, 'work'));
    await mkdir(join(root, 'config/ssh'), { recursive: true });
    await writeFile(join(root, 'dropbearmulti'), '#!/bin/sh\necho "$@" > "$7"\n');
    await chmod(join(root, 'dropbearmulti'), 0o755);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));
  const modeOf = async (path: string) => (await stat(join(root, path))).mode & 0o777;

  test('are made for a user who has none: both halves fit', async () => {
    expect(await prepareSsh(places())).toBe(join(root, 'host-key'));
    const line = await readFile(join(root, 'work/.ssh/authorized_keys'), 'utf8');
    const [kind, body = ''] = line.split(' ');
    expect(kind).toBe('ssh-rsa');
    const pem = await readFile(join(root, 'work/id_container'), 'utf8');
    const { n = '' } = createPublicKey(createPrivateKey(pem)).export({ format: 'jwk' });
    expect(Buffer.from(body, 'base64').includes(Buffer.from(n, 'base64url'))).toBe(true);
    expect([await modeOf('work/.ssh'), await modeOf('work/.ssh/authorized_keys')]).toEqual([0o700, 0o600]);
    expect(await modeOf('work/id_container')).toBe(0o600);
    expect(await readFile(join(root, 'host-key'), 'utf8')).toMatch(/^dropbearkey -t rsa -s 2048 -f /);
  });

  test('that the user has stay, tightened; those of the session are added once', async () => {
    await mkdir(join(root, 'work/.ssh'), { mode: 0o755 });
    await writeFile(join(root, 'work/.ssh/authorized_keys'), 'ssh-rsa own', { mode: 0o644 });
    await writeFile(join(root, 'config/ssh/id_cluster'), 'secret');
    await writeFile(join(root, 'config/ssh/id_cluster.pub'), 'ssh-rsa cluster\n');
    await writeFile(join(root, 'config/ssh/dropbear_rsa_host_key'), 'given');
    for (let start = 0; start < 2; start += 1)
      expect(await prepareSsh(places())).toBe(join(root, 'config/ssh/dropbear_rsa_host_key'));
    expect(await readFile(join(root, 'work/.ssh/authorized_keys'), 'utf8')).toBe(
      'ssh-rsa own\nssh-rsa cluster\n',
    );
    const config = await readFile(join(root, 'work/.ssh/config'), 'utf8');
    expect(config.match(/^Host main\*$/gm)).toHaveLength(1);
    expect([await modeOf('work/.ssh'), await modeOf('work/.ssh/authorized_keys')]).toEqual([0o700, 0o600]);
    await expect(stat(join(root, 'work/id_container'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('without a server and a session nothing is written', async () => {
    await prepareSsh({ ...places(), server: null });
    expect(execFileSync('ls', ['-A', join(root, 'work')], { encoding: 'utf8' })).toBe('');
  });

  test('programs that are there make services, on the ports that the agent has written', async () => {
    const helpers = { directory: root, hostKey: '/key' };
    expect(builtInService('sshd', 2200, helpers)?.command).toEqual(
      expect.arrayContaining([join(root, 'dropbearmulti'), '-r', '/key', '0.0.0.0:2200']),
    );
    expect(builtInService('sshd', 2200, { ...helpers, hostKey: null })).toBeUndefined();
    expect(builtInService('ttyd', 7681, helpers)).toBeUndefined();
    await writeFile(join(root, 'ttyd'), '');
    expect(builtInService('ttyd', 7000, helpers)?.command.slice(1, 4)).toEqual(['-W', '-p', '7000']);
    expect(builtInService('other', 1, helpers)).toBeUndefined();
    expect(portOf({ name: 'sshd', port: 2200 }, join(root, 'config'))).toBe(2200);
    await writeFile(join(root, 'config/intrinsic-ports.json'), '{"sshd": 30002}');
    expect(portOf({ name: 'sshd', port: 2200 }, join(root, 'config'))).toBe(30_002);
  });
});
