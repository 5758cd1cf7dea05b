import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { KernelBackend, KernelExit, KernelHandle, KernelPlan } from '../../../src/backends/backend.js';
import { findCgroupBase } from '../../../src/backends/process/memory-cgroup.js';
import { stateOf } from '../../../src/backends/process/note.js';
import { ProcessTable } from '../../../src/backends/process/process-table.js';
import { ProcessBackend, type ProcessBackendOptions } from '../../../src/backends/process/index.js';
import { closedAbove } from '../../../src/backends/process/socket-directory.js';
import { silentLogger } from '../../../src/core/logger.js';
import { RunnerLink } from '../../../src/runner/link.js';
import { eventually } from '../../support/eventually.js';
import { ProcessBackendHarness } from '../../support/process-backend.js';
import { requirement } from '../../support/requirements.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';
import { bundleRunner, query, textOf } from '../runner/runner-process.js';

const NEVER = new AbortController().signal;
const table = new ProcessTable();
const hasCgroups = (await findCgroupBase(null)).base !== null;
const isRoot = process.getuid?.() === 0;
const openToOthers = isRoot && (await closedAbove(process.execPath)) === null;

/** A field of `/proc/<pid>/status`. */
async function statusOf(pid: number, field: string): Promise<string> {
  const text = await readFile(`/proc/${String(pid)}/status`, 'utf8');
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1]?.replaceAll('\t', ' ').trim() ?? '';
}

describe('process backend on this machine', () => {
  let harness: ProcessBackendHarness;
  let backend: KernelBackend;
  let exits: KernelExit[];
  const children: ChildProcess[] = [];
  const directories: string[] = [];

  const open = async (options: Partial<ProcessBackendOptions> = {}) => {
    harness = await ProcessBackendHarness.make(options);
    backend = await harness.open();
    exits = [];
    backend.onExit((exit) => exits.push(exit));
  };
  const running = async (plan: KernelPlan) => {
    const handle = await backend.create(plan, NEVER);
    await backend.start(handle, NEVER);
    return { handle, ...(await harness.stub(plan).ready()) };
  };
  const noteFile = (handle: KernelHandle) => join(stateOf(handle).directory, 'note.json');
  const editNote = async (
    handle: KernelHandle,
    edit: (note: { process: Record<string, unknown> }) => void,
  ) => {
    const note = JSON.parse(await readFile(noteFile(handle), 'utf8')) as { process: Record<string, unknown> };
    edit(note);
    await writeFile(noteFile(handle), JSON.stringify(note));
  };
  /** A process of somebody else. */
  const bystander = async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    return child.pid ?? 0;
  };

  afterEach(async () => {
    await harness[Symbol.asyncDispose]();
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  test('kernels survive kill -9 of the daemon, and the next one attaches to them', async () => {
    harness = await ProcessBackendHarness.make();
    const plan = await harness.plan();
    const { stateDir, socketDir, runnerPath } = harness.options;
    const input = join(harness.root, 'daemon.json');
    const program = join(harness.root, 'daemon.cjs');
    await writeFile(input, JSON.stringify({ plan, options: { stateDir, socketDir, runnerPath } }));
    await build({
      entryPoints: [fileURLToPath(new URL('process-daemon.ts', import.meta.url))],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      outfile: program,
      logLevel: 'warning',
    });
    const daemon = spawn(process.execPath, [program, input], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(daemon);
    const [line] = (await once(daemon.stdout, 'data')) as [Buffer];
    const handle = JSON.parse(line.toString()) as KernelHandle;
    const { pid } = await harness.stub(plan).ready();
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    expect(await harness.isAlive(pid)).toBe(true);

    backend = await harness.open();
    exits = [];
    backend.onExit((exit) => exits.push(exit));
    expect(await backend.list(plan.agentId)).toEqual([handle]);
    expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
    await harness.stub(plan).order('exit 4');
    await eventually(() => {
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 4 })]);
    });
  });

  test('a pid that the system has given to another process is not killed', async () => {
    await open();
    const { handle } = await running(await harness.plan());
    await backend.stop(handle, { graceMs: 0 });
    const innocent = await bystander();
    await editNote(handle, (note) => {
      note.process['pid'] = innocent;
      Object.assign(note, { exit: null });
    });
    const second = await harness.open();
    expect(await second.inspect(handle)).toMatchObject({ status: 'exited' });
    await editNote(handle, (note) => {
      Object.assign(note, { exit: null });
    });
    await second.stop(handle, { graceMs: 1000 });
    await second.remove(handle);
    expect(table.stat(innocent)).not.toBeNull();
    expect(await harness.isAlive(innocent)).toBe(true);
  });

  test('after a new start of the machine nothing of the note is alive, not even with the same pid and time', async () => {
    await open();
    const { handle } = await running(await harness.plan());
    await backend.stop(handle, { graceMs: 0 });
    const innocent = await bystander();
    await editNote(handle, (note) => {
      const startTicks = table.stat(innocent)?.startTicks;
      Object.assign(note.process, { pid: innocent, startTicks, bootId: 'of-another-time' });
      Object.assign(note, { exit: null });
    });
    const second = await harness.open();
    expect(await second.inspect(handle)).toMatchObject({ status: 'exited' });
    await second.remove(handle);
    expect(await harness.isAlive(innocent)).toBe(true);
  });

  test('a damaged note hides its kernel from the list only: it is found by its mark, stopped and removed', async () => {
    await open();
    const damaged = await running(await harness.plan());
    const whole = await running(await harness.plan());
    await backend.close();
    await writeFile(noteFile(damaged.handle), '{"version":1,');
    const second = await harness.open();
    const heard: KernelExit[] = [];
    second.onExit((exit) => heard.push(exit));
    expect(await second.list(whole.handle.agentId)).toEqual([whole.handle]);
    expect(await second.inspect(damaged.handle)).toMatchObject({ status: 'running' });
    await expect(second.start(damaged.handle, NEVER)).rejects.toMatchObject({ code: 'BACKEND_START_FAILED' });
    await second.remove(damaged.handle);
    expect(await harness.isAlive(damaged.pid)).toBe(false);
    expect(heard).toHaveLength(1);
    expect(await second.inspect(damaged.handle)).toEqual({ status: 'missing' });
    expect(await second.inspect(whole.handle)).toMatchObject({ status: 'running' });
  });

  test('the death of the keeper alone is the end of the kernel', async () => {
    await open();
    const { handle, pid } = await running(await harness.plan());
    const keeper = table.stat(pid)?.parentPid ?? 0;
    process.kill(keeper, 'SIGKILL');
    await eventually(() => {
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: null })]);
    });
    expect(await harness.isAlive(pid)).toBe(false);
  });

  test('a kernel leads a session of its own, writes no core dumps, and knows its directories', async () => {
    await open();
    const plan = await harness.plan({ environment: { HOME: '/home/work' } });
    const { handle, pid, args, environment, cwd } = await running(plan);
    const stub = table.stat(pid);
    expect(stub?.session).not.toBe(table.stat(process.pid)?.session);
    expect(stub?.group).toBe(stub?.session);
    expect(await readFile(`/proc/${String(pid)}/limits`, 'utf8')).toMatch(/Max core file size\s+0\s/);
    expect(environment['HOME']).toBe(plan.scratch.work);
    expect(cwd).toBe(plan.scratch.work);
    const state = stateOf(handle);
    expect(args).toEqual([
      ...['--repl-in', `ipc://${state.sockets}/in`, '--repl-out', `ipc://${state.sockets}/out`],
      ...['--runtime', 'shell', '--work', plan.scratch.work, '--config', plan.scratch.config],
    ]);
    expect((await stat(state.sockets)).mode & 0o777).toBe(0o700);
    expect((await stat(noteFile(handle))).mode & 0o777).toBe(0o600);
  });

  test('a kernel stays on its cores; cores that are not there fail the start and leave it created', async () => {
    await open();
    const core = Number.parseInt(await statusOf(process.pid, 'Cpus_allowed_list'), 10);
    const held = await running(await harness.plan({ limits: { cpuCores: [core] } }));
    expect(await statusOf(held.pid, 'Cpus_allowed_list')).toBe(String(core));
    const handle = await backend.create(await harness.plan({ limits: { cpuCores: [4000] } }), NEVER);
    await expect(backend.start(handle, NEVER)).rejects.toMatchObject({ code: 'BACKEND_START_FAILED' });
    expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: null });
    expect(exits).toEqual([]);
  });

  test('folders of the session appear below home, keep their content, and obey ro in the files functions', async () => {
    await open();
    const shared = join(harness.root, 'shared');
    await mkdir(shared);
    await writeFile(join(shared, 'data'), 'of the folder');
    const plan = await harness.plan({
      mounts: [
        { source: shared, target: '/home/work/deep/rw', permission: 'rw' },
        { source: shared, target: '/home/work/ro', permission: 'ro' },
        { source: '/nowhere', target: '/opt/elsewhere', permission: 'ro' },
      ],
    });
    const { handle } = await running(plan);
    expect(await readFile(join(plan.scratch.work, 'deep/rw/data'), 'utf8')).toBe('of the folder');
    expect((await backend.files.downloadSingle(handle, 'ro/data', 100)).length).toBe(13);
    await backend.files.upload(handle, 'deep/rw/sub/new', Buffer.from('new'));
    expect(await readFile(join(shared, 'sub/new'), 'utf8')).toBe('new');
    const refused = { pythonName: 'PermissionError' };
    await expect(backend.files.upload(handle, 'ro/sub/x', Buffer.from('x'))).rejects.toMatchObject(refused);
    await expect(backend.files.upload(handle, 'ro/deep/er/x', Buffer.from('x'))).rejects.toMatchObject(
      refused,
    );
    await expect(backend.files.list(handle, 'deep/rw/../../..')).rejects.toMatchObject(refused);
    await backend.remove(handle);
    expect(await readFile(join(shared, 'data'), 'utf8')).toBe('of the folder');
    await expect(stat(join(plan.scratch.work, 'ro'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a folder whose place is taken fails the creation, which leaves nothing', async () => {
    await open();
    const plan = await harness.plan({
      mounts: [{ source: harness.root, target: '/home/work/taken', permission: 'rw' }],
    });
    await writeFile(join(plan.scratch.work, 'taken'), 'by a file');
    await expect(backend.create(plan, NEVER)).rejects.toMatchObject({ code: 'BACKEND_START_FAILED' });
    expect(await harness.leftovers()).toEqual([]);
  });

  test('a kernel that talks a lot has a bounded log', async () => {
    await open({ logMaxBytes: 4096 });
    const plan = await harness.plan();
    const { handle } = await running(plan);
    const file = join(stateOf(handle).directory, 'console.log');
    await harness.stub(plan).order(`print ${'x'.repeat(20_000)}`);
    await eventually(async () => {
      expect((await stat(`${file}.1`)).size).toBe(4096);
      expect((await stat(file)).size).toBe(0);
    });
    await harness.stub(plan).order('print after');
    await eventually(async () => {
      const log = Buffer.from(await backend.logs(handle, { maxBytes: 1_000_000 })).toString();
      expect(log).toMatch(/^x+\nafter\n$/);
    });
  });

  test('a listing is cut at its bound and says so', async () => {
    await open({ listMaxEntries: 2 });
    const plan = await harness.plan();
    const { handle } = await running(plan);
    for (const name of ['a', 'b', 'c']) await backend.files.upload(handle, `many/${name}`, Buffer.from(''));
    const { entries, errors } = await backend.files.list(handle, 'many');
    expect(entries.map(({ filename }) => filename)).toEqual(['a', 'b']);
    expect(errors).toContain('1 more');
  });

  test('a handle that names a foreign directory deletes nothing', async () => {
    await open();
    const { handle } = await running(await harness.plan());
    const forged = { ...handle, state: { ...handle.state, directory: harness.root } };
    await expect(backend.remove(forged)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_MISSING' });
    expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
  });

  test('a missing runner is said when the backend opens', async () => {
    await open();
    const blind = new ProcessBackend({ ...harness.options, runnerPath: join(harness.root, 'none.mjs') });
    await expect(blind.open()).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    await expect(blind.create(await harness.plan(), NEVER)).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
    });
  });

  (requirement('a memory cgroup that tests may divide', hasCgroups, { installable: false })
    ? test
    : test.skip)('a kernel that takes more memory than it may is killed, and the exit says why', async () => {
    await open();
    const plan = await harness.plan({ limits: { memoryBytes: 192 * 1024 * 1024 } });
    const { handle } = await running(plan);
    await harness.stub(plan).order('eat 4000');
    await eventually(() => {
      expect(exits).toEqual([
        expect.objectContaining({ handle, oomKilled: true, detail: expect.stringContaining('memory') }),
      ]);
    });
    await backend.remove(handle);
  });

  (requirement('root, and a program path open to all', openToOthers, { installable: false })
    ? test
    : test.skip)('root gives a kernel its own user, groups and files', async () => {
    // The kernel's user must be able to read the runner, wherever this project lies.
    const programs = await mkdtemp(join(tmpdir(), 'spl-programs-'));
    directories.push(programs);
    await chmod(programs, 0o755);
    const runnerPath = join(programs, 'runner.mjs');
    await copyFile(STUB_RUNNER, runnerPath);
    await open({ runnerPath });
    await chmod(harness.root, 0o755);
    const plan = await harness.plan({ identity: { uid: 65_534, gid: 65_533, supplementaryGids: [1234] } });
    await chown(plan.scratch.work, 65_534, 65_533);
    const { handle, pid } = await running(plan);
    expect(await statusOf(pid, 'Uid')).toBe('65534 65534 65534 65534');
    expect(await statusOf(pid, 'Gid')).toBe('65533 65533 65533 65533');
    expect(await statusOf(pid, 'Groups')).toBe('1234');
    expect((await stat(stateOf(handle).sockets)).uid).toBe(65_534);
    await backend.files.upload(handle, 'made/file', Buffer.from('x'));
    for (const path of ['made', 'made/file'])
      expect(await stat(join(plan.scratch.work, path))).toMatchObject({ uid: 65_534, gid: 65_533 });
    await backend.stop(handle, { graceMs: 20_000 });
    expect(exits).toEqual([expect.objectContaining({ exitCode: 0 })]);
    await backend.remove(handle);
  });

  (requirement('root', isRoot, { installable: false }) ? test : test.skip)(
    'an identity that cannot reach its files is refused by create, which names the directory',
    async () => {
      await open();
      await chmod(harness.root, 0o700);
      const plan = await harness.plan({ identity: { uid: 65_534, gid: 65_533 } });
      await expect(backend.create(plan, NEVER)).rejects.toMatchObject({
        code: 'BACKEND_UNAVAILABLE',
        message: expect.stringContaining(`${harness.root} is closed to other users`),
      });
      expect(await harness.leftovers()).toEqual([]);
    },
  );
});

describe('process backend with the real kernel runner', () => {
  test('a kernel runs code, survives the backend, and goes on where it was', async () => {
    const bundle = await bundleRunner();
    const harness = await ProcessBackendHarness.make({ runnerPath: bundle.path });
    const temporary = await mkdtemp(join(tmpdir(), 'spl-rt-'));
    try {
      const first = await harness.open();
      const plan = await harness.plan({ environment: { TMPDIR: temporary, GREETING: 'hello' } });
      const handle = await first.create(plan, NEVER);
      const connect = (endpoints: { replIn: string; replOut: string }) =>
        RunnerLink.connect({ kernelId: plan.kernelId, endpoints, logger: silentLogger });
      let link = connect(await first.start(handle, NEVER));
      expect(textOf(await query(link, 'echo $GREETING from $(basename $HOME)'), 'stdout')).toBe(
        'hello from work\n',
      );
      await link.close();
      await first.close();

      const second = await harness.open();
      const exits: KernelExit[] = [];
      second.onExit((exit) => exits.push(exit));
      const found = await second.inspect(handle);
      if (found.status !== 'running') throw new Error(`the kernel is ${found.status}`);
      link = connect(found.endpoints);
      expect(textOf(await query(link, 'echo still $GREETING'), 'stdout')).toBe('still hello\n');
      await link.close();
      await second.stop(handle, { graceMs: 20_000 });
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 0 })]);
      await second.remove(handle);
    } finally {
      await harness[Symbol.asyncDispose]();
      await rm(temporary, { recursive: true, force: true });
      await bundle.remove();
    }
  });
});
