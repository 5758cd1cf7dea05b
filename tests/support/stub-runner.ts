import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { eventually } from './eventually.js';

export const STUB_RUNNER = fileURLToPath(new URL('../fixtures/stub-runner.mjs', import.meta.url));

const readySchema = z.object({
  pid: z.number(),
  args: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  cwd: z.string(),
});
export type StubFacts = z.infer<typeof readySchema>;

/** The test's side of `tests/fixtures/stub-runner.mjs`, which runs in this work directory. */
export class StubRunner {
  readonly #base: string;

  constructor(work: string) {
    this.#base = join(work, '.stub');
  }

  /** Waits until it is up. */
  ready(): Promise<StubFacts> {
    return eventually(async () => readySchema.parse(JSON.parse(await this.#read('ready.json'))));
  }

  async order(text: string): Promise<void> {
    const draft = join(this.#base, `order-${randomBytes(4).toString('hex')}`);
    await writeFile(draft, text);
    await rename(draft, join(this.#base, 'orders', String(process.hrtime.bigint()).padStart(20, '0')));
  }

  /** Makes it leave a process in a session of its own. @returns its pid, as the stub sees it. */
  async leaveProcess(): Promise<number> {
    await this.order('leave');
    return eventually(
      async () => z.object({ pid: z.number() }).parse(JSON.parse(await this.#read('left.json'))).pid,
    );
  }

  #read(name: string): Promise<string> {
    return readFile(join(this.#base, name), 'utf8');
  }
}
