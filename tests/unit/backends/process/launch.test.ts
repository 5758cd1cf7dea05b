import {
  affinityCommand,
  environmentOf,
  mountLinks,
  runnerCommand,
  type LaunchTools,
} from '../../../../src/backends/process/launch.js';
import type { Launch, ProcessState } from '../../../../src/backends/process/note.js';
import { describeExit } from '../../../../src/backends/process/keeper.js';

const state: ProcessState = {
  directory: '/state/kernels/k',
  work: '/scratch/k/work',
  sockets: '/run/s/abc',
  mark: 'process-k.abc',
  uid: null,
  gid: null,
  mounts: [],
};
const launch: Launch = {
  runtimeType: 'python',
  runtimePath: '/usr/bin/python3',
  environment: { A: '1' },
  config: '/scratch/k/config',
  cpuCores: [0, 3],
  memoryBytes: 0,
  supplementaryGids: [],
};
const tools: LaunchTools = {
  node: '/bin/node',
  runner: '/lib/runner.mjs',
  shell: '/bin/sh',
  taskset: '/bin/taskset',
  setpriv: '/bin/setpriv',
};

describe('launch of a kernel process', () => {
  test('the runner learns its sockets, runtime and directories', () => {
    expect(runnerCommand(launch, state, tools)).toEqual([
      ...[
        '/bin/node',
        '/lib/runner.mjs',
        '--repl-in',
        'ipc:///run/s/abc/in',
        '--repl-out',
        'ipc:///run/s/abc/out',
      ],
      ...['--runtime', 'python', '--runtime-path', '/usr/bin/python3'],
      ...['--work', '/scratch/k/work', '--config', '/scratch/k/config'],
    ]);
    expect(runnerCommand({ ...launch, runtimePath: null }, state, tools)).not.toContain('--runtime-path');
  });

  test('a kernel with an identity gets exactly its groups', () => {
    const own = { ...state, uid: 1000, gid: null };
    expect(runnerCommand(launch, own, tools).slice(0, 5)).toEqual([
      ...['/bin/setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--'],
    ]);
    const grouped = runnerCommand({ ...launch, supplementaryGids: [5, 6] }, { ...own, gid: 100 }, tools);
    expect(grouped.slice(1, 4)).toEqual(['--reuid=1000', '--regid=100', '--groups=5,6']);
  });

  test('cores are given to taskset if there is one', () => {
    expect(affinityCommand(launch, tools)).toEqual(['/bin/taskset', '--cpu-list', '0,3']);
    expect(affinityCommand(launch, { ...tools, taskset: null })).toEqual([]);
    expect(affinityCommand({ ...launch, cpuCores: [] }, tools)).toEqual([]);
  });

  test('the environment is the plan, with the real home, a path and the mark', () => {
    expect(environmentOf(launch, state)).toEqual({
      A: '1',
      HOME: '/scratch/k/work',
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      SPLENIUM_CONTAINER: 'process-k.abc',
    });
    const planned = { HOME: '/home/work', PATH: '/opt/bin', SPLENIUM_CONTAINER: 'process-other' };
    expect(environmentOf({ ...launch, environment: planned }, state)).toEqual({
      HOME: '/scratch/k/work',
      PATH: '/opt/bin',
      SPLENIUM_CONTAINER: 'process-k.abc',
    });
    expect(environmentOf({ ...launch, environment: { HOME: '/root' } }, state)['HOME']).toBe('/root');
  });

  test('only folders below home become links, and none inside another', () => {
    const mount = (target: string) => ({ source: `/vfs${target}`, target, permission: 'rw' as const });
    const { links, impossible } = mountLinks(
      [
        '/home/work',
        '/home/config',
        '/home/work/data',
        '/home/work/a/b/',
        '/home/work/data/in',
        '/tmp',
        '/home/work/../x',
      ].map(mount),
    );
    expect(links.map(({ at }) => at)).toEqual(['data', 'a/b']);
    expect(impossible.map(({ target }) => target)).toEqual(['/home/work/data/in', '/tmp', '/home/work/../x']);
  });

  test('exits are told in words', () => {
    expect(describeExit(0, false)).toBe('ended with status 0');
    expect(describeExit(-9, false)).toBe('killed by SIGKILL');
    expect(describeExit(-9, true)).toBe('killed by the system for lack of memory');
    expect(describeExit(-64, false)).toBe('killed by signal 64');
    expect(describeExit(null, false)).toBe('ended; nobody knows with which status');
  });
});
