import { readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentBench } from '../integration/agent/agent-bench.js';
import type { TestDaemon } from './daemon.js';
import { eventually } from './eventually.js';

const PATIENT = { timeoutMs: 50_000 };

const namesIn = (directory: string): Promise<string[]> => readdir(directory).catch(() => []);

/** What is mounted below a directory of this machine. */
export async function mountsBelow(directory: string): Promise<readonly string[]> {
  const root = await realpath(directory);
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.split('\n').flatMap((line) => {
    const point = line.split(' ')[4] ?? '';
    return point.startsWith(`${root}/`) ? [point] : [];
  });
}

/** What is left of kernels on this machine and in the books of a bench's agents. */
export async function kernelRemains(bench: AgentBench) {
  const recordsOf = (id: string) =>
    namesIn(join(AgentBench.stateDirectoryOf(bench.directory, id), 'kernels'));
  return {
    mounts: await mountsBelow(bench.directory),
    scratches: await namesIn(join(bench.directory, 'scratches')),
    records: (await Promise.all(bench.agents.map(({ id }) => recordsOf(id)))).flat(),
    kernels: bench.agents.flatMap(({ kernels }) => [...kernels].map(({ id }) => id)),
    allocated: bench.agents.flatMap((agent) => Object.keys(agent.resourceUsage().kernels)),
    ports: bench.pools.flatMap((pool) => [...pool.holders().keys()]),
    defects: bench.agents.flatMap((agent) => agent.examine()),
  };
}

export const NO_REMAINS: Awaited<ReturnType<typeof kernelRemains>> = {
  mounts: [],
  scratches: [],
  records: [],
  kernels: [],
  allocated: [],
  ports: [],
  defects: [],
};

/** Waits for ends that nobody waited for. */
export const expectNoRemains = (bench: AgentBench): Promise<void> =>
  eventually(async () => {
    expect(await kernelRemains(bench)).toEqual(NO_REMAINS);
  }, PATIENT);

/** The same of a daemon that serves: files, mounts, journals, and what its agents find in their books. */
export async function expectNoRemainsOf(daemon: TestDaemon): Promise<void> {
  const client = daemon.client();
  const recordsOf = (id: string) => namesIn(join(daemon.stateDirectory, 'agents', id, 'kernels'));
  try {
    await eventually(async () => {
      const examined = await client.call('examine', {});
      expect({
        mounts: await mountsBelow(daemon.directory),
        scratches: await namesIn(daemon.scratchRoot),
        records: (await Promise.all(daemon.agentIds.map(recordsOf))).flat(),
        findings: examined.flatMap(({ findings }) => findings),
      }).toEqual({ mounts: [], scratches: [], records: [], findings: [] });
    }, PATIENT);
  } finally {
    await client.close();
  }
}
