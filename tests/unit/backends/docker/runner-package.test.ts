import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { originalStart } from '../../../../src/backends/docker/original-runner.js';
import {
  helperMounts,
  openRunnerPackage,
  originalMounts,
  type RunnerPackage,
} from '../../../../src/backends/docker/runner-package.js';
import type { KernelPlan } from '../../../../src/backends/backend.js';

const MANDATORY = [
  'su-exec.x86_64.bin',
  'libbaihook.ubuntu18.04.x86_64.so',
  'libbaihook.ubuntu22.04.x86_64.so',
  'libbaihook.alpine3.8.x86_64.so',
  'dropbearmulti.x86_64.bin',
  'sftp-server.x86_64.bin',
  'tmux.x86_64.bin',
  'ttyd_linux.x86_64.bin',
  'yank.sh',
  'all-smi.x86_64.bin',
  'extract_dotfiles.py',
  'entrypoint.sh',
  'fantompass.py',
  'hash_phrase.py',
  'words.json',
];
const complete: RunnerPackage = {
  directory: '/pkg/runner',
  files: new Set(MANDATORY),
  kernel: '/pkg/kernel',
  helpers: '/pkg/helpers',
  archives: {},
  extractorImage: null,
  pythonVersions: { 'static-gnu': '3.13' },
};
const options = { distro: 'ubuntu24.04', arch: 'x86_64', volumes: { 'static-gnu': 'krunner.v9' } };
const targets = (mounts: ReturnType<typeof originalMounts>) =>
  Object.fromEntries(mounts.map(({ source, target }) => [target, source]));

test("all of the original's mounts, read-only; what is optional and absent is left out", () => {
  const mounts = originalMounts(complete, options);
  expect(mounts.every(({ permission }) => permission === 'ro')).toBe(true);
  expect(targets(mounts)).toEqual({
    '/opt/kernel/su-exec': '/pkg/runner/su-exec.x86_64.bin',
    '/opt/kernel/libbaihook.so': '/pkg/runner/libbaihook.ubuntu22.04.x86_64.so',
    '/opt/kernel/dropbearmulti': '/pkg/runner/dropbearmulti.x86_64.bin',
    '/opt/kernel/sftp-server': '/pkg/runner/sftp-server.x86_64.bin',
    '/opt/kernel/tmux': '/pkg/runner/tmux.x86_64.bin',
    '/opt/kernel/ttyd': '/pkg/runner/ttyd_linux.x86_64.bin',
    '/opt/kernel/yank.sh': '/pkg/runner/yank.sh',
    '/usr/local/bin/all-smi': '/pkg/runner/all-smi.x86_64.bin',
    '/opt/kernel/extract_dotfiles.py': '/pkg/runner/extract_dotfiles.py',
    '/opt/kernel/entrypoint.sh': '/pkg/runner/entrypoint.sh',
    '/opt/kernel/fantompass.py': '/pkg/runner/fantompass.py',
    '/opt/kernel/hash_phrase.py': '/pkg/runner/hash_phrase.py',
    '/opt/kernel/words.json': '/pkg/runner/words.json',
    '/opt/backend.ai': 'krunner.v9',
    '/opt/backend.ai/lib/python3.13/site-packages/ai/backend/kernel': '/pkg/kernel',
    '/opt/backend.ai/lib/python3.13/site-packages/ai/backend/helpers': '/pkg/helpers',
  });
  const files = new Set([...MANDATORY, 'all-smi.1', 'bssh.x86_64.bin']);
  expect(targets(originalMounts({ ...complete, files }, options))).toMatchObject({
    '/usr/local/share/man/man1/all-smi.1': '/pkg/runner/all-smi.1',
    '/usr/local/bin/bssh': '/pkg/runner/bssh.x86_64.bin',
  });
});

test('images of musl get the terminal descriptions and the Python of their kind', () => {
  const volumes = { 'static-gnu': 'gnu', 'alpine3.8': '/srv/alpine' };
  const musl = { ...options, distro: 'alpine3.11', volumes };
  expect(() => originalMounts(complete, musl)).toThrow('lacks terminfo.alpine3.8');
  const files = new Set([...MANDATORY, 'terminfo.alpine3.8']);
  expect(targets(originalMounts({ ...complete, files }, musl))).toMatchObject({
    '/home/work/.terminfo': '/pkg/runner/terminfo.alpine3.8',
    '/opt/backend.ai': '/srv/alpine',
    '/opt/backend.ai/lib/python3.6/site-packages/ai/backend/kernel': '/pkg/kernel',
    '/opt/kernel/libbaihook.so': '/pkg/runner/libbaihook.alpine3.8.x86_64.so',
  });
});

test('everything that is missing is named', () => {
  const files = new Set(MANDATORY.filter((name) => !/^(su-exec|words)/.test(name)));
  expect(() => originalMounts({ ...complete, files, helpers: null }, options)).toThrow(
    'lacks su-exec.x86_64.bin, words.json, ../helpers',
  );
  expect(() => originalMounts(complete, { ...options, volumes: {} })).toThrow(
    "'ubuntu24.04' is not supported",
  );
  expect(() => originalMounts(complete, { ...options, distro: 'debian12' })).toThrow('debian12');
});

test('a package is read from a directory, with what lies beside it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'spl-package-'));
  try {
    await mkdir(join(root, 'krunner/static_gnu'), { recursive: true });
    await writeFile(join(root, 'krunner/static_gnu/krunner-python.static-gnu.txt'), '3.13\n');
    await writeFile(join(root, 'krunner/static_gnu/krunner-version.static-gnu.txt'), '14\n');
    const archive = join(root, 'krunner/static_gnu/krunner-env.static-gnu.aarch64.tar.xz');
    await writeFile(archive, '');
    // Of another machine, and of nobody knows which version.
    await writeFile(join(root, 'krunner/static_gnu/krunner-env.static-gnu.x86_64.tar.xz'), '');
    await writeFile(join(root, 'krunner/static_gnu/krunner-env.alpine3.8.aarch64.tar.xz'), '');
    await mkdir(join(root, 'runner'));
    await mkdir(join(root, 'kernel'));
    await writeFile(join(root, 'runner/tmux.aarch64.bin'), '');
    const found = await openRunnerPackage(join(root, 'runner'), 'aarch64');
    expect(found).toEqual({
      directory: join(root, 'runner'),
      files: new Set(['tmux.aarch64.bin']),
      kernel: join(root, 'kernel'),
      helpers: null,
      pythonVersions: { 'static-gnu': '3.13' },
      archives: { 'static-gnu': { path: archive, version: '14' } },
      extractorImage: null,
    });
    expect(helperMounts(found, 'aarch64')).toEqual([
      { source: join(root, 'runner/tmux.aarch64.bin'), target: '/opt/kernel/tmux', permission: 'ro' },
    ]);
    expect(helperMounts(found, 'x86_64')).toEqual([]);
    await expect(openRunnerPackage(join(root, 'none'), 'aarch64')).rejects.toMatchObject({
      code: 'RUNNER_PACKAGE',
    });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

test("the original's command, with its hook before those of devices", () => {
  const plan = {
    runtimeType: 'python',
    runtimePath: '/usr/bin/python3',
    environment: { LD_PRELOAD: '/opt/hook.so' },
    identity: { uid: 7, gid: 8, supplementaryGids: [] },
  } as unknown as KernelPlan;
  expect(originalStart(plan, [], { isDebug: true })).toEqual({
    entrypoint: ['/opt/kernel/entrypoint.sh'],
    command: [
      ...['/opt/backend.ai/bin/python', '-s', '-m', 'ai.backend.kernel', '--debug'],
      ...['python', '/usr/bin/python3'],
    ],
    user: '0:0',
    groups: [],
    environment: {
      LOCAL_USER_ID: '7',
      LOCAL_GROUP_ID: '8',
      LD_PRELOAD: '/opt/kernel/libbaihook.so:/opt/hook.so',
    },
    mounts: [],
  });
  const app = { ...plan, runtimeType: 'app', runtimePath: null, environment: {} };
  const { command, environment } = originalStart(app, [], { isDebug: false });
  expect(command.slice(3)).toEqual(['ai.backend.kernel', 'app']);
  expect(environment['LD_PRELOAD']).toBe('/opt/kernel/libbaihook.so');
});

test('in a jail the command begins with it, and the container may be traced', () => {
  const plan = {
    runtimeType: 'app',
    runtimePath: null,
    environment: {},
    identity: { uid: 7, gid: 8, supplementaryGids: [] },
  } as unknown as KernelPlan;
  const start = originalStart(plan, [], { isDebug: false, jailArgs: ['-v'] });
  expect(start.command.slice(0, 4)).toEqual(['/opt/kernel/jail', '-v', '--', '/opt/backend.ai/bin/python']);
  expect(start.hostConfig).toEqual({
    CapAdd: ['SYS_PTRACE'],
    SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
  });
});

test('the jail of the distribution is mounted where kernels are jailed, and is missing where there is none', () => {
  const jailed = { ...options, isJailed: true };
  const files = new Set([...MANDATORY, 'jail.ubuntu20.04.x86_64.bin', 'jail.ubuntu22.04.x86_64.bin']);
  const withJails = { ...complete, files };
  expect(targets(originalMounts(withJails, jailed))['/opt/kernel/jail']).toBe(
    '/pkg/runner/jail.ubuntu22.04.x86_64.bin',
  );
  expect(targets(originalMounts(withJails, options))).not.toHaveProperty('/opt/kernel/jail');
  expect(() => originalMounts(complete, jailed)).toThrow('lacks jail.*.x86_64.bin');
});
