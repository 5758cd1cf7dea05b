import type { Agent } from '../../../src/agent/agent.js';
import { AgentClient } from '../../../src/client/agent-client.js';
import { ConnectionPool } from '../../../src/client/connection-pool.js';
import type { RunEvent, RunRequest } from '../../../src/client/run.js';
import { deferred, within } from '../../../src/core/async.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { PATIENT_HANDSHAKE_MS, startNode } from '../../support/rpc-server.js';

type Execution = Awaited<ReturnType<Agent['execute']>>;
type Asked = Parameters<Agent['execute']>[1];

const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
const SESSION = '5a4b3c2d-1e0f-4a5b-8c7d-6e5f4a3b2c1d';
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0).reverse()) await part.close();
});

const result = (
  status: Execution['status'],
  console: Extract<Execution, { console: unknown }>['console'],
  rest: Partial<Pick<Execution, 'exitCode' | 'options'>> = {},
): Execution => ({ runId: 'r', status, exitCode: null, options: null, files: [], console, ...rest });

/** An agent whose kernel answers with these results, one a call. */
async function kernelThat(...results: (Execution | Promise<Execution>)[]) {
  const asked: Asked[] = [];
  const interrupted = deferred<string>();
  const agent = new FakeAgent('i-one', {
    execute: (_kernelId, request) => {
      asked.push(request);
      return Promise.resolve(results.shift() ?? Promise.reject(new Error('asked once too often')));
    },
    interruptKernel: (kernelId) => {
      interrupted.resolve(kernelId);
      return Promise.resolve();
    },
  });
  const node = await startNode([agent]);
  opened.push(node);
  const pool = new ConnectionPool({ handshakeTimeoutMs: PATIENT_HANDSHAKE_MS });
  opened.push(pool);
  const client = new AgentClient({ address: node.address, pool });
  const run = (request: Partial<RunRequest> = {}) =>
    client.run({ kernelId: KERNEL, sessionId: SESSION, code: 'print(1)', ...request });
  const interruption = () =>
    within(interrupted.promise, { timeoutMs: 20_000, what: 'the interrupt to arrive' });
  return { asked, run, interruption };
}

async function collect(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test('code is followed to its end, whatever it prints', async () => {
  const { asked, run } = await kernelThat(
    result('continued', [
      ['stdout', 'a\n'],
      ['stderr', 'b\n'],
    ]),
    result('continued', []),
    result('finished', [['media', ['image/png', 'AAAA']]], { exitCode: 3 }),
  );
  await expect(collect(run({ flushMs: 500 }))).resolves.toEqual([
    { type: 'stdout', text: 'a\n' },
    { type: 'stderr', text: 'b\n' },
    { type: 'media', mime: 'image/png', data: 'AAAA' },
    { type: 'end', exitCode: 3, timedOut: false },
  ]);
  expect(asked.map(({ mode, code, flushTimeoutMs }) => [mode, code, flushTimeoutMs])).toEqual([
    ['query', 'print(1)', 500],
    ['continue', '', 500],
    ['continue', '', 500],
  ]);
  expect(new Set(asked.map(({ runId }) => runId)).size).toBe(1);
});

test('a batch reports its steps', async () => {
  const { asked, run } = await kernelThat(
    result('clean-finished', [], { exitCode: 0 }),
    result('build-finished', [['stdout', 'cc\n']], { exitCode: 1 }),
    result('finished', [], { exitCode: 127 }),
  );
  await expect(collect(run({ code: { build: 'make', exec: './main' } }))).resolves.toEqual([
    { type: 'step', step: 'clean', exitCode: 0 },
    { type: 'stdout', text: 'cc\n' },
    { type: 'step', step: 'build', exitCode: 1 },
    { type: 'end', exitCode: 127, timedOut: false },
  ]);
  expect(asked[0]).toMatchObject({ mode: 'batch', opts: { clean: null, build: 'make', exec: './main' } });
});

test('questions of the code are answered', async () => {
  const { asked, run } = await kernelThat(
    result('waiting-input', [['stdout', 'name? ']], { options: { is_password: false } }),
    result('waiting-input', [['stdout', 'password? ']], { options: { is_password: true } }),
    result('finished', [], { exitCode: 0 }),
  );
  const questions: boolean[] = [];
  const onInput = ({ isPassword }: { readonly isPassword: boolean }) => {
    questions.push(isPassword);
    return Promise.resolve(isPassword ? 'secret' : 'me');
  };
  await collect(run({ onInput }));
  expect(questions).toEqual([false, true]);
  expect(asked.slice(1).map(({ mode, code }) => [mode, code])).toEqual([
    ['input', 'me'],
    ['input', 'secret'],
  ]);
});

test('a question that nobody answers interrupts the code', async () => {
  const { run, interruption } = await kernelThat(result('waiting-input', [], { options: {} }));
  await expect(collect(run())).rejects.toMatchObject({ code: 'INPUT_REQUIRED' });
  await expect(interruption()).resolves.toBe(KERNEL);
});

test('running out of execution time is the end', async () => {
  const { run } = await kernelThat(result('exec-timeout', []));
  await expect(collect(run())).resolves.toEqual([{ type: 'end', exitCode: null, timedOut: true }]);
});

test('leaving the loop early interrupts the code', async () => {
  const { run, interruption } = await kernelThat(result('continued', [['stdout', 'a']]));
  for await (const event of run()) {
    expect(event).toEqual({ type: 'stdout', text: 'a' });
    break;
  }
  await expect(interruption()).resolves.toBe(KERNEL);
});

test('an abort cancels the call under way and interrupts the code', async () => {
  const controller = new AbortController();
  const { run, interruption } = await kernelThat(
    result('continued', [['stdout', 'a']]),
    new Promise<Execution>(() => undefined),
  );
  const running = (async () => {
    for await (const event of run({ signal: controller.signal }))
      if (event.type === 'stdout')
        setImmediate(() => {
          controller.abort();
        });
  })();
  await expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
  await expect(interruption()).resolves.toBe(KERNEL);
});
