import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { KernelHandle } from '../../../../src/backends/backend.js';
import { ContainerUsage } from '../../../../src/backends/docker/container-usage.js';
import { type Container, containerSchema } from '../../../../src/backends/docker/engine-schemas.js';
import { Questions } from '../../../../src/core/questions.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../../src/core/ids.js';

let root: string;
const asked: string[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spl-usage-'));
  asked.length = 0;
  await put('proc/self/mountinfo', `30 23 0:26 / ${join(root, 'cg')} rw - cgroup2 cgroup2 rw\n`);
  await network('self', 'net:[1]');
  await network('1', 'net:[1]');
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
async function network(pid: string, name: string): Promise<void> {
  await mkdir(join(root, 'proc', pid, 'ns'), { recursive: true });
  await symlink(name, join(root, 'proc', pid, 'ns', 'net'));
}

const idOf = (letter: string) => letter.repeat(64);
const handleOf = (letter: string): KernelHandle => ({
  version: 1,
  backend: 'docker',
  agentId: parseAgentId('i-a'),
  kernelId: parseKernelId(`${letter.repeat(8)}-0000-4000-8000-000000000000`),
  sessionId: parseSessionId('00000000-0000-4000-8000-000000000000'),
  containerId: asContainerId(idOf(letter)),
  state: {},
});
const containerOf = (letter: string, pid: number): Container =>
  containerSchema.parse({
    Id: idOf(letter),
    State: { Status: pid > 0 ? 'running' : 'exited', Pid: pid },
    Config: {},
    HostConfig: {},
  });

async function running(letter: string, pid: number, procs: string, net = `net:[${letter}]`) {
  await put(`proc/${String(pid)}/cgroup`, `0::/docker/${idOf(letter)}\n`);
  await put(`cg/docker/${idOf(letter)}/cgroup.procs`, procs);
  await network(String(pid), net);
}

const usageOf = (inspect: (id: string) => Promise<Container | null>, itemTimeoutMs = 5000) =>
  new ContainerUsage({
    containers: {
      inspect: (id) => {
        asked.push(id);
        return inspect(id);
      },
    },
    itemTimeoutMs,
    questions: new Questions({ timeoutMs: 20_000 }),
    proc: join(root, 'proc'),
  });
const nothing = () => Promise.resolve(null);

test('what an inspection has shown needs no question; processes come from all its groups', async () => {
  await running('a', 100, '100\n101\n0\n');
  await put(`cg/docker/${idOf('a')}/inner/cgroup.procs`, '102\n');
  const usage = usageOf(nothing);
  usage.learn(containerOf('a', 100));
  const [handle] = [handleOf('a')];
  expect(await usage.sources([handle])).toEqual(
    new Map([
      [
        handle.kernelId,
        {
          pids: [100, 101, 102],
          cgroups: [join(root, 'cg/docker', idOf('a'))],
          trafficFile: join(root, 'proc/100/net/dev'),
        },
      ],
    ]),
  );
  expect(asked).toEqual([]);
});

test('the engine is asked once for a container of which nobody has heard, and again when its process is another', async () => {
  await running('a', 100, '100\n');
  let pid = 100;
  const usage = usageOf(() => Promise.resolve(containerOf('a', pid)));
  expect((await usage.sources([handleOf('a')])).size).toBe(1);
  expect((await usage.sources([handleOf('a')])).size).toBe(1);
  expect(asked).toHaveLength(1);
  // Started anew, and the old id belongs to somebody else.
  await put('proc/100/cgroup', '0::/user.slice\n');
  await running('a', 200, '200\n');
  pid = 200;
  expect([...(await usage.sources([handleOf('a')])).values()]).toMatchObject([{ pids: [200] }]);
  expect(asked).toHaveLength(2);
});

test.each([
  ['has no process', 0, ''],
  ['has a process in the group of the whole machine', 300, '0::/\n'],
])('a container that %s is left out: the machine is not counted for it', async (_what, pid, cgroup) => {
  await put('proc/0/cgroup', '0::/\n');
  await put('cg/cgroup.procs', '1\n2\n');
  if (pid > 0) await put(`proc/${String(pid)}/cgroup`, cgroup);
  const usage = usageOf(() => Promise.resolve(containerOf('a', pid)));
  expect(await usage.sources([handleOf('a')])).toEqual(new Map());
});

test('with the network of the machine there is no traffic of its own', async () => {
  await running('a', 100, '100\n', 'net:[1]');
  const usage = usageOf(() => Promise.resolve(containerOf('a', 100)));
  const [source] = [...(await usage.sources([handleOf('a')])).values()];
  expect(source).toMatchObject({ pids: [100] });
  expect(source).not.toHaveProperty('trafficFile');
});

test('a container that the engine cannot tell of delays and harms nobody', async () => {
  await running('a', 100, '100\n');
  const usage = usageOf(
    (id) =>
      id === idOf('b')
        ? new Promise(() => undefined)
        : id === idOf('c')
          ? Promise.reject(new Error('broken'))
          : Promise.resolve(containerOf('a', 100)),
    200,
  );
  for (let round = 0; round < 3; round += 1) {
    const found = await usage.sources(['b', 'c', 'a'].map(handleOf));
    expect([...found.keys()]).toEqual([handleOf('a').kernelId]);
  }
  // The question that nobody answers is asked once.
  expect(asked.filter((id) => id === idOf('b'))).toHaveLength(1);
});
