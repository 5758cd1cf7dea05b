import type {
  ImageRequest,
  KernelBackend,
  KernelHandle,
  KernelPlan,
} from '../../../../src/backends/backend.js';
import type { DummySettings } from '../../../../src/backends/dummy/index.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { RunnerLink } from '../../../../src/runner/link.js';
import { DummyBackendHarness, QUICK_SETTINGS } from '../../../support/dummy-backend.js';
import { eventually } from '../../../support/eventually.js';
import { ManualClock } from '../../../support/manual-clock.js';

/** Short of every time limit of a link, whose clock moves, too. */
const DELAY_MS = 1000;
const NEVER = new AbortController().signal;
const IMAGE: ImageRequest = {
  canonical: 'dummy/image:1',
  digest: '',
  architecture: 'x86_64',
  isLocal: false,
  autoPull: 'tag',
  registry: null,
};
const SERVICE = { name: 'jupyter', port: 8080, ports: [8080], protocol: 'http', options: {} };

/** No time passes for what takes none, and what takes some waits for the test. */
class KnobClock extends ManualClock {
  readonly asked: number[] = [];

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    this.asked.push(ms);
    return super.sleep(ms, signal);
  }
}

interface Bench {
  /** Every delay of it is nothing but the one of the test. */
  readonly backend: KernelBackend;
  readonly plan: KernelPlan;
  /** Of a kernel that runs. */
  readonly handle: KernelHandle;
  /** Of one that was never started. */
  readonly created: KernelHandle;
  /** To the runner of the kernel that runs, after its first answer. */
  readonly link: () => Promise<RunnerLink>;
}

type Knob = keyof DummySettings['delaysMs'];

/** What takes as long as each of them says. */
const ACTS: Readonly<Record<Knob, (bench: Bench) => Promise<unknown>>> = {
  'scan-image': ({ backend }) => backend.images.list(),
  'pull-image': ({ backend }) => backend.images.pull(IMAGE, NEVER),
  'push-image': ({ backend }) => backend.images.push(IMAGE, NEVER),
  'purge-images': ({ backend }) =>
    backend.images.remove(IMAGE.canonical, { force: false, isPruningParents: true }),
  'destroy-kernel': ({ backend, handle }) => backend.stop(handle, { graceMs: 5 * DELAY_MS }),
  'clean-kernel': ({ backend, created }) => backend.remove(created),
  'create-network': ({ backend }) => backend.networks.createLocal('net'),
  'destroy-network': ({ backend }) => backend.networks.destroyLocal('net'),
  'prepare-scratch': ({ backend, plan }) => backend.create(plan, NEVER),
  'prepare-ssh': ({ backend, plan }) => backend.create(plan, NEVER),
  'mount-krunner': ({ backend, plan }) => backend.create(plan, NEVER),
  spawn: ({ backend, plan }) => backend.create(plan, NEVER),
  'start-container': ({ backend, created }) => backend.start(created, NEVER),
  commit: ({ backend, handle }) => backend.commit(handle, { canonical: 'made:1', labels: {} }, NEVER),
  'get-logs': ({ backend, handle }) => backend.logs(handle, { maxBytes: 100 }),
  'accept-file': ({ backend, handle }) => backend.files.upload(handle, 'a', new Uint8Array()),
  'download-file': ({ backend, handle }) => backend.files.downloadArchive(handle, 'a', 1),
  'download-single': ({ backend, handle }) => backend.files.downloadSingle(handle, 'a', 1),
  'list-files': ({ backend, handle }) => backend.files.list(handle, 'a'),
  // The first question of a link.
  'check-status': async ({ link }) => (await link()).status(),
  'get-completions': async ({ link }) => (await link()).complete('im'),
  'interrupt-kernel': async ({ link }) => (await link()).interrupt(),
  'start-service': async ({ link }) => (await link()).startService(SERVICE),
  'start-model-service': async ({ link }) => (await link()).startModelService({ name: 'model' }),
  'shutdown-service': async ({ link }) => (await link()).shutdownService('jupyter'),
  'get-service-apps': async ({ link }) => (await link()).getApps(),
  execute: async ({ link }) =>
    (await link()).execute({
      runId: 'r',
      mode: 'query',
      code: '1',
      opts: {},
      flushTimeoutMs: null,
      apiVersion: 2,
    }),
};

let harness: DummyBackendHarness;
const links: RunnerLink[] = [];
beforeEach(async () => {
  harness = await DummyBackendHarness.make();
});
afterEach(async () => {
  for (const link of links.splice(0)) await link.close();
  await harness[Symbol.asyncDispose]();
});

async function makeBench(knob: Knob, clock: KnobClock): Promise<Bench> {
  const quick = await harness.open();
  const handle = await quick.create(await harness.plan(), NEVER);
  await quick.start(handle, NEVER);
  const created = await quick.create(await harness.plan(), NEVER);
  const none = { ...QUICK_SETTINGS.delaysMs, 'start-container': 0 };
  const backend = await harness.open({
    settings: { ...QUICK_SETTINGS, delaysMs: { ...none, [knob]: DELAY_MS } },
    clock,
  });
  const link = async () => {
    const found = await backend.inspect(handle);
    if (found.status !== 'running') throw new Error(found.status);
    const { endpoints } = found;
    const made = RunnerLink.connect({ kernelId: handle.kernelId, endpoints, logger: silentLogger, clock });
    links.push(made);
    return made;
  };
  return { backend, plan: await harness.plan(), handle, created, link };
}

test.each(Object.keys(ACTS) as readonly Knob[])('%s is how long its step takes', async (knob) => {
  const clock = new KnobClock();
  const bench = await makeBench(knob, clock);
  let isDone = false;
  const act = ACTS[knob](bench).finally(() => {
    isDone = true;
  });
  await eventually(() => {
    expect(clock.asked).toContain(DELAY_MS);
  });
  clock.advance(DELAY_MS - 1);
  // Whoever would go on by now has the time for it.
  await new Promise((resolve) => setImmediate(resolve));
  expect(isDone).toBe(false);
  clock.advance(1);
  await act;
});

test('the parts of a creation follow each other', async () => {
  const clock = new KnobClock();
  const { delaysMs } = QUICK_SETTINGS;
  const parts = { 'prepare-scratch': 1, 'prepare-ssh': 20, 'mount-krunner': 300, spawn: 4000 };
  const backend = await harness.open({
    settings: { ...QUICK_SETTINGS, delaysMs: { ...delaysMs, ...parts } },
    clock,
  });
  const creating = backend.create(await harness.plan(), NEVER);
  await eventually(() => {
    expect(clock.asked).toEqual([4321]);
  });
  clock.advance(4321);
  await creating;
});

test('a run that takes its time is continued meanwhile, and ends by an interrupt', async () => {
  const clock = new KnobClock();
  const link = await (await makeBench('execute', clock)).link();
  const request = { runId: 'r', opts: {}, apiVersion: 2 };
  const first = await link.execute({ ...request, mode: 'query', code: '1', flushTimeoutMs: 0 });
  expect(first.status).toBe('continued');
  await eventually(() => {
    expect(clock.asked).toContain(DELAY_MS);
  });
  await link.interrupt();
  const last = await link.execute({ ...request, mode: 'continue', code: '', flushTimeoutMs: null });
  expect(last).toMatchObject({ status: 'finished', exitCode: 130 });
});
