import { readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentBench } from '../integration/agent/agent-bench.js';

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
