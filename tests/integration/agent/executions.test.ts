import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostedAgent } from '../../../src/agent/hosted-agent.js';
import { parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { KernelCreationConfig, KernelCreationRequest } from '../../../src/kernels/requests.js';
import type { ConsoleResult, ExecutionRequest } from '../../../src/runner/execution.js';
import { RunnerLink } from '../../../src/runner/link.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { DEADLINE_MS } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ProcessBackendHarness } from '../../support/process-backend.js';
import { bundleRunner, textOf } from '../runner/runner-process.js';
import { AgentBench, NEVER } from './agent-bench.js';

/** Kernels are pinned to cores, so they must be real ones; several share one where there are few. */
const THIS_MACHINE = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };

/** One agent over real processes with the runner that is shipped; each test has a kernel of its own. */
let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let harness: ProcessBackendHarness;
let backend: Awaited<ReturnType<ProcessBackendHarness['open']>>;
let bench: AgentBench;
let agent: HostedAgent;
beforeAll(async () => {
  bundle = await bundleRunner();
  harness = await ProcessBackendHarness.make({ runnerPath: bundle.path });
  backend = await harness.open();
  bench = await AgentBench.start(backend, { resources: THIS_MACHINE });
  ({ agent } = bench);
}, 90_000);
afterEach(async () => {
  await agent.reset(NEVER);
  expect(agent.examine()).toEqual([]);
});
afterAll(async () => {
  await bench.stop();
  await bench.remove();
  await harness[Symbol.asyncDispose]();
  await bundle.remove();
}, 90_000);

async function kernel(changes: Partial<KernelCreationConfig> = {}): Promise<KernelCreationRequest> {
  const made = kernelRequest({ config: changes });
  await agent.createKernels([made], NEVER);
  return made;
}

const run = (
  { kernelId }: Pick<KernelCreationRequest, 'kernelId'>,
  request: Partial<ExecutionRequest>,
  signal = NEVER,
) =>
  agent.execute(
    kernelId,
    {
      runId: null,
      mode: 'query',
      code: '',
      opts: {},
      flushTimeoutMs: DEADLINE_MS,
      apiVersion: 3,
      ...request,
    },
    signal,
  ) as Promise<ConsoleResult>;

/** Starts a run and continues it until the kernel has said `begin`; returns the last result. */
async function begin(one: KernelCreationRequest, code: string): Promise<ConsoleResult> {
  const runId = randomUUID();
  let result = await run(one, { runId, code: `print("begin", flush=True)\n${code}`, flushTimeoutMs: 200 });
  while (!textOf(result, 'stdout').includes('begin'))
    result = await run(one, { runId, mode: 'continue', flushTimeoutMs: 200 });
  return result;
}

/** The same run until it asks for input. */
async function untilAsked(one: KernelCreationRequest, begun: ConsoleResult): Promise<void> {
  let result = begun;
  while (result.status === 'continued') result = await run(one, { runId: begun.runId, mode: 'continue' });
  expect(result.status).toBe('waiting-input');
}

const eventsOf = ({ sessionId }: KernelCreationRequest) =>
  bench.events.published.flatMap(({ event }) =>
    'sessionId' in event && event.sessionId === sessionId ? [event.name] : [],
  );

test('code runs to its end, keeps its state, and each call is announced', async () => {
  const one = await kernel();
  const before = eventsOf(one).length;
  expect(await run(one, { code: 'x = 6\nprint("set")' })).toMatchObject({
    status: 'finished',
    console: [['stdout', 'set\n']],
  });
  expect(textOf(await run(one, { code: 'print(x * 7)' }), 'stdout')).toBe('42\n');
  expect(eventsOf(one).slice(before)).toEqual([
    ...['execution_started', 'execution_finished', 'execution_started', 'execution_finished'],
  ]);
  expect(await run(one, { code: '1/0', apiVersion: 1 })).toMatchObject({
    status: 'finished',
    stdout: '',
    stderr: expect.stringContaining('ZeroDivisionError') as string,
  });
});

test('what takes longer is continued, and input comes when it is asked for', async () => {
  const one = await kernel();
  const begun = await begin(one, 'name = input("who? ")\nprint("hello", name)');
  await untilAsked(one, begun);
  let result = await run(one, { runId: begun.runId, mode: 'input', code: 'Ada' });
  let heard = textOf(result, 'stdout');
  while (result.status === 'continued') {
    result = await run(one, { runId: begun.runId, mode: 'continue' });
    heard += textOf(result, 'stdout');
  }
  expect(result.status).toBe('finished');
  expect(heard).toContain('hello Ada');
});

test('an interrupt ends what runs, not the kernel', async () => {
  const one = await kernel();
  const { runId } = await begin(one, 'import time\ntime.sleep(3600)');
  await agent.interruptKernel(one.kernelId);
  const result = await run(one, { runId, mode: 'continue' });
  expect(result.status).toBe('finished');
  expect(textOf(result, 'stderr')).toContain('KeyboardInterrupt');
  expect(textOf(await run(one, { code: 'print("alive")' }), 'stdout')).toBe('alive\n');
});

test('a call that is cancelled leaves the run, which can be continued, and the kernel', async () => {
  const one = await kernel();
  const begun = await begin(one, 'print("got", input())');
  await untilAsked(one, begun);
  const cancel = new AbortController();
  const { runId } = begun;
  const announced = eventsOf(one).length;
  const waiting = run(one, { runId, mode: 'continue', flushTimeoutMs: null }, cancel.signal);
  const failed = expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  await eventually(() => {
    expect(eventsOf(one).length).toBeGreaterThan(announced);
  });
  cancel.abort();
  await failed;
  const result = await run(one, { runId, mode: 'input', code: 'it' });
  expect(textOf(result, 'stdout')).toContain('got it');
  expect(result.status).toBe('finished');
});

test('a kernel that dies fails the call that waits for it, at once and by name', async () => {
  const one = await kernel();
  await expect(
    run(one, { code: 'import os, signal\nos.kill(os.getppid(), signal.SIGKILL)', flushTimeoutMs: null }),
  ).rejects.toMatchObject({
    pythonName: 'RuntimeError',
    message: expect.stringContaining('might be terminated') as string,
  });
  await eventually(() => {
    expect(eventsOf(one).at(-1)).toBe('kernel_terminated');
  });
  await expect(run(one, { code: '1' })).rejects.toThrow(
    new RegExp(
      `^The container for kernel ${one.kernelId} is not found! \\(might be terminated--try it again\\)$`,
    ),
  );
});

test('destroying a kernel fails the calls that wait for it', async () => {
  const one = await kernel();
  const { runId } = await begin(one, 'import time\ntime.sleep(3600)');
  const waiting = [1, 2].map(() => run(one, { runId, mode: 'continue', flushTimeoutMs: null }));
  const failed = Promise.all(
    waiting.map((call) => expect(call).rejects.toMatchObject({ pythonName: 'RuntimeError' })),
  );
  await agent.destroyKernel({ ...one, reason: null, suppressEvents: false });
  await failed;
});

test('an execution waits for a restart that is under way and runs in the new container', async () => {
  const one = await kernel();
  await run(one, { code: 'before = 1' });
  const restarting = agent.restartKernel({ ...one, updatedConfig: {} }, NEVER);
  await eventually(
    () => {
      expect(agent.kernels.get(one.kernelId).state.name).toBe('restarting');
    },
    { intervalMs: 1 },
  );
  const result = await run(one, { code: 'print("before" in globals())' });
  expect(textOf(result, 'stdout')).toBe('False\n');
  await restarting;
});

test('completions, logs, files and the age of a kernel', async () => {
  const one = await kernel();
  const { kernelId } = one;
  await run(one, { code: 'alphabet = 1\nalpine = 2' });
  expect(await agent.complete(kernelId, 'alp', {}, NEVER)).toEqual(
    expect.arrayContaining(['alphabet', 'alpine']),
  );
  expect(typeof (await agent.pingKernel(kernelId, NEVER))?.startedAtSec).toBe('number');
  await run(one, { code: 'print("in the log")' });
  await eventually(async () => {
    expect(await agent.logs(kernelId)).toContain('in the log');
  });
  await agent.uploadFile(kernelId, 'data/a.txt', Buffer.from('content'));
  expect(Buffer.from(await agent.downloadSingle(kernelId, 'data/a.txt')).toString()).toBe('content');
  expect((await agent.listFiles(kernelId, 'data')).entries).toMatchObject([{ filename: 'a.txt' }]);
});

test('services: blocked, unknown, and a kernel that is not here', async () => {
  const internalData = kernelRequest().config.internalData;
  const open = await kernel();
  const blocked = await kernel({ internalData: { ...internalData, blockServicePorts: true } });
  expect(await agent.startService(blocked.kernelId, 'ttyd', {}, NEVER)).toEqual({
    status: 'failed',
    error: 'operation blocked',
  });
  expect(await agent.startService(open.kernelId, 'nothing', {}, NEVER)).toEqual({
    status: 'failed',
    error: 'invalid service name',
  });
  // The image names a port for it, but no program.
  expect(await agent.startService(open.kernelId, 'jupyter', {}, NEVER)).toMatchObject({ status: 'failed' });
  await agent.shutdownService(open.kernelId, 'jupyter');
  const stranger = parseKernelId(randomUUID());
  await expect(agent.startService(stranger, 'ttyd', {}, NEVER)).rejects.toMatchObject({
    pythonName: 'KeyError',
    message: stranger,
  });
  await agent.shutdownService(stranger, 'ttyd');
});

test('a kernel goes on over a restart of the daemon, with its state and its batch job', async () => {
  const one = await kernel();
  await run(one, { code: 'kept = "yes"' });
  const { kernelId, sessionId } = one;
  const code = 'while [ ! -e go ]; do sleep 0.05; done; exit 5';
  await agent.triggerBatchExecution({ kernelId, sessionId, code, timeoutMs: null });
  const events = eventsOf(one).length;
  await eventually(() => {
    expect(eventsOf(one).slice(events)).toContain('execution_started');
  });
  await bench.stop();
  bench = await AgentBench.start(backend, { resources: THIS_MACHINE, directory: bench.directory });
  ({ agent } = bench);
  await agent.uploadFile(kernelId, 'go', Buffer.from(''));
  await eventually(() => {
    expect(bench.events.named('session_failure')).toMatchObject([
      { sessionId, reason: 'task-failed', exitCode: 5 },
    ]);
  });
  expect(textOf(await run(one, { code: 'print(kept)' }), 'stdout')).toBe('yes\n');
});

test('the result of a batch job that somebody else has heard is told all the same', async () => {
  const one = await kernel();
  const { kernelId, sessionId } = one;
  const { endpoints } = agent.kernels.get(kernelId);
  if (!endpoints) throw new Error('the kernel has no endpoints');
  await agent.triggerBatchExecution({
    kernelId,
    sessionId,
    code: 'while [ ! -e go ]; do sleep 0.05; done; exit 6',
    timeoutMs: null,
  });
  const events = eventsOf(one).length;
  await eventually(() => {
    expect(eventsOf(one).slice(events)).toContain('execution_started');
  });
  await bench.stop();
  // An agent that is killed as soon as it has the result.
  const link = RunnerLink.connect({ kernelId, endpoints, logger: silentLogger });
  await link.waitReady({ timeoutMs: DEADLINE_MS });
  await writeFile(join(bench.directory, 'scratches', kernelId, 'work', 'go'), '');
  const request = { runId: 'batch-job', mode: 'continue', code: '', opts: {}, apiVersion: 3 };
  let status = '';
  while (status !== 'finished')
    ({ status } = await link.execute({ ...request, flushTimeoutMs: DEADLINE_MS }));
  await link.close();
  bench = await AgentBench.start(backend, { resources: THIS_MACHINE, directory: bench.directory });
  ({ agent } = bench);
  await eventually(() => {
    expect(bench.events.named('session_failure')).toMatchObject([{ sessionId, exitCode: 6 }]);
  });
});
