import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';

const AGENT = 'i-one';
const SPEC = {
  image: 'local/shell:1',
  labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/bash' },
  resourceSlots: { cpu: '1', mem: '67108864' },
};

interface Kernel {
  readonly kernelId: string;
  readonly sessionId: string;
}

/** Spec kernel-lifecycle.md 9.3, R2 and R3: a note holds no labels, so the record in the scratch directory tells. */
describe('a daemon on the process backend that was killed', () => {
  let daemon: TestDaemon;
  let client: AgentClient;
  const kernels: Kernel[] = [];
  beforeEach(async () => {
    daemon = await TestDaemon.start({ agentIds: [AGENT], env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '8' } });
    client = daemon.client(AGENT);
    kernels.length = 0;
    for (const answer of ['one', 'two']) {
      const kernel = { kernelId: randomUUID(), sessionId: randomUUID() };
      await client.createKernel({ ...SPEC, ...kernel });
      expect(await outputOf(kernel, `answer=${answer}; echo set`)).toBe('set');
      kernels.push(kernel);
    }
  }, 120_000);
  afterEach(async () => {
    await client.close();
    await daemon.dispose();
  }, 120_000);

  const journal = (): string => join(daemon.stateDirectory, 'agents', AGENT, 'kernels');
  const recordOf = ({ kernelId }: Kernel): string => join(journal(), `${kernelId}.json`);
  const scratchOf = ({ kernelId }: Kernel): string => join(daemon.scratchRoot, kernelId);
  const usage = () => client.call('describe_resources', { agent_id: AGENT });

  async function outputOf(kernel: Kernel, code: string): Promise<string> {
    let output = '';
    for await (const event of client.run({ ...kernel, code }))
      if (event.type === 'stdout') output += event.text;
    return output.trim();
  }

  /** Kills the daemon, and starts it again once the damage is done. */
  async function afterDamage(damage: () => Promise<unknown>): Promise<void> {
    await client.close();
    await daemon.kill();
    await damage();
    await daemon.resume();
    client = daemon.client(AGENT);
  }

  test.each<[string, () => Promise<unknown>]>([
    ['its journal is gone', () => rm(journal(), { recursive: true })],
    [
      'its journal lacks one record and holds half of another',
      async () => {
        const [one, two] = kernels as [Kernel, Kernel];
        await rm(recordOf(one));
        const text = await readFile(recordOf(two), 'utf8');
        await writeFile(recordOf(two), text.slice(0, text.length / 2));
      },
    ],
  ])(
    'takes over its kernels with what they hold although %s',
    async (_, damage) => {
      const before = await usage();
      await afterDamage(damage);
      for (const [index, kernel] of kernels.entries())
        expect(await outputOf(kernel, 'echo $answer')).toBe(['one', 'two'][index]);
      expect(await usage()).toEqual(before);
      // Known by its own record again: the next start needs no scratch directory for it.
      expect((await readdir(journal())).filter((name) => !name.includes('unreadable')).sort()).toEqual(
        kernels.map(({ kernelId }) => `${kernelId}.json`).sort(),
      );

      for (const kernel of kernels) await client.destroyKernel(kernel);
      expect(await daemon.kernelProcesses()).toEqual([]);
      expect(await readdir(daemon.scratchRoot)).toEqual([]);
    },
    240_000,
  );

  test('ends a kernel of which neither journal nor scratch directory has a record, says why, and keeps its sibling', async () => {
    const [lost, kept] = kernels as [Kernel, Kernel];
    await afterDamage(async () => {
      await rm(recordOf(lost));
      await rm(join(scratchOf(lost), 'kernel.json'));
    });
    expect(daemon.log).toContain('a kernel without a record cannot be taken over; it is ended');
    expect(existsSync(scratchOf(lost))).toBe(false);
    const environments = await Promise.all(
      (await daemon.kernelProcesses()).map((pid) =>
        readFile(`/proc/${String(pid)}/environ`, 'utf8').catch(() => ''),
      ),
    );
    expect(environments.filter((text) => text.includes(lost.kernelId))).toEqual([]);
    expect(await outputOf(kept, 'echo $answer')).toBe('two');
    // It is gone for the manager, too, however often it asks.
    await client.destroyKernel(lost);
    await client.createKernel({ ...SPEC, ...lost });
    expect(await outputOf(lost, 'echo "[$answer]"')).toBe('[]');
    for (const kernel of kernels) await client.destroyKernel(kernel);
    await eventually(async () => {
      expect(await daemon.kernelProcesses()).toEqual([]);
    });
  }, 240_000);
});
