// A daemon with nothing but a process backend: starts the kernel that its argument plans, says so, and stays.
import { readFileSync } from 'node:fs';
import { ProcessBackend } from '../../../src/backends/process/index.js';
import type { KernelPlan } from '../../../src/backends/backend.js';
import { silentLogger } from '../../../src/core/logger.js';

const { plan, options } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as {
  plan: KernelPlan;
  options: { stateDir: string; socketDir: string; runnerPath: string };
};

async function main(): Promise<void> {
  const backend = new ProcessBackend({ ...options, logger: silentLogger });
  await backend.open();
  const signal = new AbortController().signal;
  const handle = await backend.create(plan, signal);
  await backend.start(handle, signal);
  process.stdout.write(`${JSON.stringify(handle)}\n`);
  setInterval(() => undefined, 1000);
}

void main();
