import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Heartbeat } from '../../../src/agent/heartbeat.js';
import type { KernelHandle } from '../../../src/backends/backend.js';
import { ContainerUsage } from '../../../src/backends/docker/container-usage.js';
import { containerSchema } from '../../../src/backends/docker/engine-schemas.js';
import { systemClock } from '../../../src/core/clock.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { Questions } from '../../../src/core/questions.js';
import type { AgentInfo } from '../../../src/events/catalogue.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { KernelReader } from '../../../src/stats/kernel-reader.js';
import { KernelUsageReader } from '../../../src/stats/kernel-usage.js';
import { readText } from '../../../src/stats/read-text.js';
import { eventually } from '../../support/eventually.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const ROUNDS = 200;
const AGENT = parseAgentId('i-a');
const LETTERS = ['a', 'b', 'c', 'd'] as const;
type Letter = (typeof LETTERS)[number];

const idOf = (letter: Letter) => letter.repeat(64);
const handleOf = (letter: Letter): KernelHandle => ({
  version: 1,
  backend: 'docker',
  agentId: AGENT,
  kernelId: parseKernelId(`${letter.repeat(8)}-0000-4000-8000-000000000000`),
  sessionId: parseSessionId('00000000-0000-4000-8000-000000000000'),
  containerId: asContainerId(idOf(letter)),
  state: {},
});
const openDescriptors = async () => (await readdir('/proc/self/fd')).length;

let root: string;
let pipes: string[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spl-stuck-'));
  pipes = [];
});
afterEach(async () => {
  for (const pipe of pipes) release(pipe);
  await rm(root, { recursive: true, force: true });
});

/** Whoever opens it to read waits for somebody who writes. */
function makePipe(path: string): void {
  execFileSync('mkfifo', [path]);
  pipes.push(path);
}

/** Lets the one who waits read that there is nothing. */
function release(pipe: string): void {
  closeSync(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK));
}

/** A container with its files in the shape of cgroup version 2, below a tree of this test's own. */
async function container(letter: Letter, pid: number): Promise<string> {
  const cgroup = join(root, 'cg', 'docker', idOf(letter));
  const proc = join(root, 'proc', String(pid));
  await mkdir(cgroup, { recursive: true });
  await mkdir(join(proc, 'ns'), { recursive: true });
  await writeFile(join(proc, 'cgroup'), `0::/docker/${idOf(letter)}\n`);
  await symlink(`net:[${letter}]`, join(proc, 'ns', 'net'));
  await writeFile(join(cgroup, 'cpu.stat'), 'usage_usec 5000\n');
  await writeFile(join(cgroup, 'memory.current'), '4096\n');
  return cgroup;
}

test('files that hang cost their kernels alone, over 200 rounds, with as many descriptors at the end', async () => {
  const cgroups = await Promise.all(LETTERS.map((letter, index) => container(letter, 900_000 + index)));
  for (const pid of ['self', '1']) {
    await mkdir(join(root, 'proc', pid, 'ns'), { recursive: true });
    await symlink('net:[1]', join(root, 'proc', pid, 'ns', 'net'));
  }
  const mount = `30 23 0:26 / ${join(root, 'cg')} rw - cgroup2 cgroup2 rw\n`;
  await writeFile(join(root, 'proc', 'self', 'mountinfo'), mount);
  const [, listOfB = '', , countersOfD = ''] = cgroups;
  // The list of its processes never comes; what it counts is no file that ends.
  makePipe(join(listOfB, 'cgroup.procs'));
  await rm(join(countersOfD, 'cpu.stat'));
  makePipe(join(countersOfD, 'cpu.stat'));

  const questions = new Questions({ timeoutMs: 4000 });
  const containers = new ContainerUsage({
    containers: { inspect: () => Promise.resolve(null) },
    questions,
    proc: join(root, 'proc'),
  });
  for (const [index, letter] of LETTERS.entries())
    containers.learn(
      containerSchema.parse({
        Id: idOf(letter),
        State: { Status: 'running', Pid: 900_000 + index },
        Config: {},
        HostConfig: {},
      }),
    );
  const reader = new KernelReader({
    sources: () => containers.sources(LETTERS.map(handleOf)),
    usage: new KernelUsageReader({ readText, questions }),
    sourcesTimeoutMs: 20_000,
    clock: systemClock,
  });
  const events = new RecordedEvents();
  const heartbeat = new Heartbeat({
    agentId: AGENT,
    kernels: new KernelRegistry(AGENT),
    info: () => ({}) as AgentInfo,
    events,
    clock: systemClock,
    logger: new RecordedLog(),
    intervalMs: 10,
  });
  const beats = () => events.named('agent_heartbeat').length;

  let before = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const { usages } = await reader.read();
    expect(usages.get(handleOf('a').kernelId)).toMatchObject({ cpuMs: 5, memoryBytes: 4096 });
    expect(usages.get(handleOf('c').kernelId)).toMatchObject({ cpuMs: 5, memoryBytes: 4096 });
    expect(usages.has(handleOf('b').kernelId)).toBe(false);
    expect(questions.hanging).toBe(1);
    if (round === 10) before = await openDescriptors();
  }
  expect(await openDescriptors()).toBeLessThanOrEqual(before);
  const beatsSoFar = beats();
  await eventually(() => {
    expect(beats()).toBeGreaterThan(beatsSoFar + 2);
  });
  await heartbeat.stop();

  for (const pipe of pipes) release(pipe);
  await eventually(async () => {
    expect(questions.hanging).toBe(0);
    expect((await reader.read()).usages.has(handleOf('a').kernelId)).toBe(true);
  });
});
