import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelExit, KernelHandle } from '../../../src/backends/backend.js';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

const NEVER = new AbortController().signal;
const PATIENT = { timeoutMs: 50_000 };
const MIB = 1024 * 1024;

await describeWithEngine('lack of memory in a kernel', (engine) => {
  let harness: DockerBackendHarness;
  const log = new RecordedLog();

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const root = join(engine.directory, 'volumes');
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const volume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
    harness = await DockerBackendHarness.make({ engine, volume, backend: { logger: log } });
  }, 120_000);
  afterEach(() => harness[Symbol.asyncDispose]());

  test('a process that is killed for lack of memory is told of, and its kernel runs on (L14)', async () => {
    const backend = await harness.open();
    const exits: KernelExit[] = [];
    backend.onExit((exit) => exits.push(exit));
    const plan = await harness.plan({ limits: { memoryBytes: 160 * MIB } });
    const handle = await backend.create(plan, NEVER);
    await backend.start(handle, NEVER);
    await harness.stub(plan).ready();
    await harness.stub(plan).order('feed 1024');
    await eventually(async () => {
      const fed: unknown = JSON.parse(await readFile(join(plan.scratch.work, '.stub', 'fed.json'), 'utf8'));
      expect(fed).toEqual({ status: null, signal: 'SIGKILL' });
    }, PATIENT);
    await eventually(() => {
      expect(log.lines).toContainEqual({
        level: 'warn',
        message: 'a kernel has run out of memory',
        fields: { agentId: plan.agentId, kernelId: plan.kernelId },
      });
    }, PATIENT);
    expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
    await harness.stub(plan).order('exit 5');
    await eventually(() => {
      // The end that comes later is not for lack of memory.
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 5, oomKilled: false })]);
    }, PATIENT);
  });

  test('a kernel whose first process is killed for lack of memory has ended for that, by every account', async () => {
    const backend = await harness.open();
    const exits: KernelExit[] = [];
    const ooms: KernelHandle[] = [];
    backend.onExit((exit) => exits.push(exit));
    backend.onOom?.((handle) => ooms.push(handle));
    const plan = await harness.plan({ limits: { memoryBytes: 96 * MIB } });
    const handle = await backend.create(plan, NEVER);
    await backend.start(handle, NEVER);
    await harness.stub(plan).ready();
    await harness.stub(plan).order('eat 512');
    const detail = 'killed by signal 9, out of memory';
    await eventually(() => {
      expect(exits).toEqual([{ handle, exitCode: -9, oomKilled: true, detail }]);
    }, PATIENT);
    await eventually(() => {
      expect(ooms).toContainEqual(handle);
    }, PATIENT);
    expect(await backend.inspect(handle)).toEqual({ status: 'exited', exitCode: -9, detail });
    // One that knows of it only from the engine says the same.
    const later = await harness.open();
    expect(await later.inspect(handle)).toEqual({ status: 'exited', exitCode: -9, detail });
  });
});
