import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerPids, NO_PROCESS, OTHER_CONTAINER } from '../../../src/agent-socket/container-pids.js';

const [OURS, THEIRS, AROUND] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];

describe('pids of containers', () => {
  let proc: string;
  let pids: ContainerPids;
  const process = async (pid: number | 'self', nspid: string, cgroup: string) => {
    await mkdir(join(proc, String(pid)));
    await writeFile(join(proc, String(pid), 'status'), `Name:\tx\nNSpid:\t${nspid}\nNSpgid:\t1\n`);
    await writeFile(join(proc, String(pid), 'cgroup'), cgroup);
  };

  beforeEach(async () => {
    proc = await mkdtemp(join(tmpdir(), 'spl-proc-'));
    pids = new ContainerPids(proc);
    await process('self', '10', `0::/docker/${AROUND}\n`);
    await process(10, '10', `0::/docker/${AROUND}\n`);
    await process(200, '200\t1', `0::/docker/${AROUND}/docker/${OURS}\n`);
    await process(201, '201\t7\t3', `12:cpu:/x\n4:memory:/system.slice/docker-${OURS}.scope\n`);
    await process(300, '300\t7', `0::/docker/${THEIRS}\n`);
    await process(400, '400', `0::/docker/${OURS}\n`);
  });
  afterEach(() => rm(proc, { recursive: true, force: true }));

  test('a process of the container has the pid of the container, not of a namespace inside of it', async () => {
    expect(await pids.toContainer(OURS, 200)).toBe(1);
    expect(await pids.toContainer(OURS, 201)).toBe(7);
    expect(await pids.toHost(OURS, 7)).toBe(201);
    expect(await pids.toHost(THEIRS, 7)).toBe(300);
  });

  test('a container that shares the pids of the host has those of the host', async () => {
    expect(await pids.toContainer(OURS, 400)).toBe(400);
    expect(await pids.toHost(OURS, 400)).toBe(400);
  });

  test('a process of another container is told apart from one of no container', async () => {
    expect(await pids.toContainer(OURS, 300)).toBe(OTHER_CONTAINER);
    expect(await pids.toContainer(OURS, 10)).toBe(NO_PROCESS);
  });

  test('a pid that nobody has is no process', async () => {
    expect(await pids.toContainer(OURS, 999)).toBe(NO_PROCESS);
    expect(await pids.toContainer(OURS, -5)).toBe(NO_PROCESS);
    expect(await pids.toContainer(OURS, 0)).toBe(NO_PROCESS);
    expect(await pids.toHost(OURS, 3)).toBe(NO_PROCESS);
  });
});
