import { existsSync } from 'node:fs';
import { chown, readFile, readdir, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelBackend, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { buildRunnerVolume, type DockerBackendOptions } from '../../../src/backends/docker/index.js';
import { silentLogger } from '../../../src/core/logger.js';
import { RunnerLink } from '../../../src/runner/link.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { bareRoot, busyboxRoot, pythonRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { requirement } from '../../support/requirements.js';
import { bundleRunner, query, textOf } from '../runner/runner-process.js';

const NEVER = new AbortController().signal;
const PATIENT = { timeoutMs: 50_000 };
const PLAIN = 'splenium-test/plain:1';
const STALE = 'splenium-test/stale:1';
const PREPARED = 'splenium-test/prepared:1';
const BARE = 'splenium-test/bare:1';
const PYTHON = 'splenium-test/python-without-mkfifo:1';

const STALE_FILES = {
  '/etc/passwd': {
    text: 'root:x:0:0:root:/root:/bin/sh\nubuntu:x:12345:12345:Ubuntu:/home/ubuntu:/bin/sh\nwork:x:2000:2000::/home/work:/bin/sh\n',
  },
  '/etc/group': { text: 'root:x:0:\nubuntu:x:12345:\nwork:x:2000:work\naudio:x:29:ubuntu\n' },
};
const PREPARED_FILES = {
  '/opt/container/bootstrap.sh': {
    text: 'echo "image bootstrap as $(id -u)"\nid -u > /opt/seen\nexport FROM_IMAGE="a b"\nfalse\n',
    mode: 0o755,
  },
  '/bin/ssh-agent': {
    text: '#!/bin/sh\necho "SSH_AUTH_SOCK=/tmp/agent-of-$(id -u); export SSH_AUTH_SOCK;"\necho "SSH_AGENT_PID=77; export SSH_AGENT_PID;"\n',
    mode: 0o755,
  },
};

await describeWithEngine('the entry point of containers', (engine) => {
  let volume: string;
  let harness: DockerBackendHarness;
  let backend: KernelBackend;
  const links: RunnerLink[] = [];

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot({ without: ['mkfifo'] }), PLAIN);
    await engine.importImage(await busyboxRoot({ files: STALE_FILES }), STALE);
    await engine.importImage(await busyboxRoot({ files: PREPARED_FILES }), PREPARED);
    await engine.importImage(bareRoot(), BARE);
    const bundle = await bundleRunner();
    try {
      const entrypointPath = await bundleEntrypoint(engine.directory);
      const root = join(engine.directory, 'volumes');
      volume = (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
    } finally {
      await bundle.remove();
    }
  }, 120_000);
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
    await harness[Symbol.asyncDispose]();
  });

  const open = async (image: string, options: Partial<DockerBackendOptions> = {}) => {
    harness = await DockerBackendHarness.make({ engine, volume, image, backend: options });
    backend = await harness.open();
  };
  /** A plan whose work directory belongs to its user, as the agent gives it. */
  const planFor = async (changes: Partial<KernelPlan> = {}) => {
    const plan = {
      ...(await harness.plan({ identity: { uid: 12_345, gid: 12_346, supplementaryGids: [4242] } })),
      ...changes,
    };
    await chown(plan.scratch.work, plan.identity.uid ?? 9001, plan.identity.gid ?? 9001);
    return plan;
  };
  const start = async (plan: KernelPlan) => {
    const handle = await backend.create(plan, NEVER);
    const endpoints = await backend.start(handle, NEVER);
    const link = RunnerLink.connect({ kernelId: plan.kernelId, endpoints, logger: silentLogger });
    links.push(link);
    return { handle, link };
  };
  const run = async (plan: KernelPlan) => {
    const { handle, link } = await start(plan);
    await link.waitReady(PATIENT);
    const answer = async (code: string) => textOf(await query(link, code), 'stdout').replaceAll('\r', '');
    return { handle, link, answer };
  };
  const logOf = async (handle: KernelHandle) =>
    Buffer.from(await backend.logs(handle, { maxBytes: 100_000 })).toString();

  test('the user is called work, has its groups, and owns what it makes', async () => {
    await open(PLAIN);
    const plan = await planFor();
    const { answer } = await run(plan);
    expect(await answer('whoami; id; echo $HOME; echo ~work')).toBe(
      [
        'work',
        'uid=12345(work) gid=12346(work) groups=4242(gid4242),12346(work)',
        '/home/work',
        '/home/work\n',
      ].join('\n'),
    );
    await answer('touch mine');
    expect(await stat(join(plan.scratch.work, 'mine'))).toMatchObject({ uid: 12_345, gid: 12_346 });
  });

  test('nothing of root is left in it: no right, and no file that is open', async () => {
    await open(PLAIN);
    const { answer, handle } = await run(await planFor());
    const status = await answer(
      'grep -E "^(Uid|Gid|CapPrm|CapEff|CapAmb)" /proc/self/status | tr -s "\\t" " "',
    );
    expect(status).toBe(
      'Uid: 12345 12345 12345 12345\nGid: 12346 12346 12346 12346\nCapPrm: 0000000000000000\n' +
        'CapEff: 0000000000000000\nCapAmb: 0000000000000000\n',
    );
    const pid = Number((await answer('echo $PPID')).trim());
    const hostPid = await engine.hostPid(handle.containerId, pid);
    const threads = await readdir(`/proc/${String(hostPid)}/task`);
    for (const thread of threads)
      expect(await readFile(`/proc/${String(hostPid)}/task/${thread}/status`, 'utf8')).toMatch(
        /^Uid:\t12345\t12345\t12345\t12345$/m,
      );
    for (const name of await readdir(`/proc/${String(hostPid)}/fd`)) {
      const target = await readlink(`/proc/${String(hostPid)}/fd/${name}`).catch(() => '');
      if (target.startsWith('/'))
        expect(target).toMatch(/^\/(dev\/(pts\/\d+|\d+|null|urandom|console)|opt\/splenium\/)/);
    }
  });

  test('sudo is a rule of the root file system, only where the session has it', async () => {
    await open(PLAIN);
    const without = await run(await planFor());
    expect(await without.answer('ls /etc/sudoers.d 2>/dev/null')).toBe('');
    const { answer, handle } = await run(await planFor({ isSudoEnabled: true }));
    expect(await answer('ls -ln /etc/sudoers.d | tail -n 1 | tr -s " " | cut -d" " -f1,3,4,9')).toBe(
      '-r--r----- 0 0 01-bai-work\n',
    );
    const archive = await engine.docker
      .getContainer(handle.containerId)
      .getArchive({ path: '/etc/sudoers.d/01-bai-work' });
    let text = '';
    for await (const chunk of archive as AsyncIterable<Buffer>) text += chunk.toString('latin1');
    expect(text).toContain('work ALL=(ALL:ALL) NOPASSWD:ALL\n');
  });

  test('a session with sudo has it under strict hardening, too', async () => {
    await open(PLAIN, { hardening: 'strict' });
    const { answer } = await run(await planFor({ isSudoEnabled: true }));
    expect(await answer('whoami; ls /etc/sudoers.d')).toBe('work\n01-bai-work\n');
  });

  test('strict hardening starts as the user, and the log says what is left out', async () => {
    await open(PLAIN, { hardening: 'strict' });
    const { answer, handle } = await run(await planFor());
    expect(await answer('id -u; id -g; id -G')).toBe('12345\n12346\n12346 4242\n');
    expect(await logOf(handle)).toContain('not started as root');
  });

  test('users of an image that was committed from another kernel give way', async () => {
    await open(STALE);
    const { answer } = await run(await planFor());
    expect(await answer('id; grep -c . /etc/passwd')).toBe(
      'uid=12345(work) gid=12346(work) groups=4242(gid4242),12346(work)\n2\n',
    );
    const other = await run(await planFor({ identity: { uid: 2000, gid: 12_345, supplementaryGids: [29] } }));
    expect(await other.answer('id; cat /etc/passwd')).toBe(
      'uid=2000(work) gid=12345(ubuntu) groups=29(audio),12345(ubuntu)\n' +
        'root:x:0:0:root:/root:/bin/sh\nubuntu:x:12345:12345:Ubuntu:/home/ubuntu:/bin/sh\n' +
        'work:x:2000:12345::/home/work:/bin/ash\n',
    );
  });

  test("the image's own bootstrap runs as root, what it exports stays, and ssh-agent is started", async () => {
    await open(PREPARED);
    const { answer, handle } = await run(await planFor());
    expect(await answer('cat /opt/seen; echo $FROM_IMAGE; echo $SSH_AUTH_SOCK $SSH_AGENT_PID')).toBe(
      '0\na b\n/tmp/agent-of-12345 77\n',
    );
    expect(await logOf(handle)).toContain('image bootstrap as 0');
  });

  test("the user's bootstrap ends before the runner answers; a failure is no reason to stop", async () => {
    await open(PLAIN);
    const plan = await planFor();
    await writeFile(
      join(plan.scratch.work, 'bootstrap.sh'),
      'echo "as $(whoami)"; until [ -e go ]; do sleep 0.1; done; echo over > done; exit 3\n',
    );
    await writeFile(
      join(plan.scratch.config, 'dotfiles.json'),
      JSON.stringify([{ path: '.config/tool/rc', data: 'setting', perm: '600' }]),
    );
    const { handle, link } = await start(plan);
    await eventually(async () => {
      expect(await logOf(handle)).toContain('as work');
    }, PATIENT);
    await expect(link.waitReady({ timeoutMs: 500 })).rejects.toThrow();
    await writeFile(join(plan.scratch.work, 'go'), '');
    await link.waitReady(PATIENT);
    expect(textOf(await query(link, 'cat done .config/tool/rc'), 'stdout')).toBe('over\nsetting\n');
    expect((await stat(join(plan.scratch.work, '.config'))).mode & 0o777).toBe(0o700);
    expect(await logOf(handle)).toMatch(/bootstrap\.sh failed.*"exitCode":3/);
  });

  test('an image of a single text file starts, and runs code in our own Node.js', async () => {
    await open(BARE);
    const plan = await planFor({ runtimeType: 'app' });
    const { link, handle } = await run(plan);
    expect((await query(link, 'x')).exitCode).toBe(127);
    await backend.stop(handle, { graceMs: 20_000 });
    expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: 0 });
  });

  test('libraries to preload go to the file of the C library, missing ones to the log', async () => {
    await open(PLAIN);
    const plan = await planFor();
    const { answer, handle } = await run({
      ...plan,
      environment: { ...plan.environment, LD_PRELOAD: '/bin/busybox:/opt/hook.so' },
    });
    expect(await answer('cat /etc/ld.so.preload; echo "[$LD_PRELOAD]"')).toBe('/bin/busybox\n[]\n');
    expect(await logOf(handle)).toContain('/opt/hook.so');
  });

  test('a root file system that is read-only keeps its accounts, and the kernel runs', async () => {
    const path = join(engine.directory, 'read-only.json');
    await writeFile(path, JSON.stringify({ HostConfig: { ReadonlyRootfs: true, Tmpfs: { '/tmp': '' } } }));
    await open(PLAIN, { overridePaths: [path] });
    const { answer, handle } = await run(await planFor());
    expect(await answer('id -u; id -G')).toBe('12345\n12346 4242\n');
    expect(await logOf(handle)).toContain('/etc/passwd stays as it is');
    const sudo = await start(await planFor({ isSudoEnabled: true }));
    await eventually(async () => {
      expect(await backend.inspect(sudo.handle)).toMatchObject({ status: 'exited', exitCode: 1 });
    }, PATIENT);
    expect(await logOf(sudo.handle)).toContain('entrypoint: ');
  });

  const hasPython = requirement(
    '/usr/bin/python3: a python kernel in a container',
    existsSync('/usr/bin/python3'),
  );
  (hasPython ? test : test.skip)(
    'python runs where there is no mkfifo, with real pipes, as the user',
    async () => {
      await engine.importImage(await pythonRoot({ without: ['mkfifo', 'sh', 'ash', 'hush'] }), PYTHON);
      await open(PYTHON);
      const plan = await planFor({ runtimeType: 'python', runtimePath: '/usr/bin/python3' });
      const { link } = await run(plan);
      const code = [
        'import os, stat, getpass, sys',
        'print(getpass.getuser(), os.getgid(), stat.S_ISFIFO(os.fstat(1).st_mode))',
        'print("to the file", file=open("/dev/stderr", "w"))',
      ].join('\n');
      const result = await query(link, code);
      expect(textOf(result, 'stdout')).toBe('work 12346 True\n');
      expect(textOf(result, 'stderr')).toBe('to the file\n');
    },
  );
});
