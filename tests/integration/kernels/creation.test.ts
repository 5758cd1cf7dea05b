import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TimeoutError } from '../../../src/core/errors.js';
import { decodeRecord } from '../../../src/kernels/kernel-record.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { CREATION_POINTS, LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;
/** Points at which work waits; the allocation is synchronous. */
const HANGING_POINTS = CREATION_POINTS.filter((point) => point !== 'resources.allocate');
const START_POINTS = ['runners.waitReady', 'journal.record:3', 'events.publish:kernel_started'] as const;

let bench: LifecycleBench;
beforeEach(async () => {
  bench = await LifecycleBench.open();
});
afterEach(async () => {
  await bench.remove();
});

function create(request: KernelCreationRequest, signal = never) {
  const creation = bench.lifecycle.create([request], signal);
  creation.catch(() => undefined);
  return creation;
}

function destroy(request: KernelCreationRequest, suppressEvents = false) {
  const { kernelId, sessionId } = request;
  return bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents });
}

test('a creation announces its steps, answers with what was made and leaves a record of it', async () => {
  const request = kernelRequest();
  const { kernelId, sessionId } = request;
  const [result] = await create(request);

  expect(bench.events.names).toEqual([
    'kernel_preparing',
    'kernel_pulling',
    'kernel_creating',
    'kernel_started',
  ]);
  expect(bench.events.all[1]).toEqual({
    name: 'kernel_pulling',
    kernelId,
    sessionId,
    reason: 'localhost/test/python:3.11-debian',
  });
  expect(bench.events.all[3]).toEqual({
    name: 'kernel_started',
    kernelId,
    sessionId,
    reason: '',
    creation: result,
  });
  const [container] = bench.backend.containers;
  expect(result).toEqual({
    id: kernelId,
    containerId: container?.handle.containerId,
    kernelHost: '127.0.0.1',
    replInPort: 30000,
    replOutPort: 30001,
    servicePorts: [
      { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30002], isInference: false },
      { name: 'ttyd', protocol: 'http', containerPorts: [7681], hostPorts: [30003], isInference: false },
      {
        name: 'jupyter',
        protocol: 'http',
        containerPorts: [8070],
        hostPorts: [30004],
        isInference: false,
        urlTemplate: 'http://{host}:{port}/lab',
      },
    ],
    resourceSpec: {
      slots: { cpu: '1', mem: '268435456' },
      allocations: { cpu: { cpu: { '0': '1' } } },
      scratchDiskSizeBytes: 0,
      mounts: [
        {
          type: 'bind',
          source: join(bench.scratchRoot, kernelId, 'config'),
          target: '/home/config',
          permission: 'ro',
        },
        {
          type: 'bind',
          source: join(bench.scratchRoot, kernelId, 'work'),
          target: '/home/work',
          permission: 'rw',
        },
      ],
    },
    attachedDevices: { cpu: [], mem: [] },
    agentAddr: 'tcp://127.0.0.1:6001',
    scalingGroup: 'default',
  });
  const kernel = bench.registry.get(kernelId);
  expect(kernel.state).toEqual({ name: 'running' });
  expect(kernel.containerId).toBe(result?.containerId);
  await bench.lifecycle.whenIdle();
  const record = decodeRecord(await readFile(join(bench.journal.directory, `${kernelId}.json`), 'utf8'));
  expect(record).toEqual(kernel.facts);
  expect(await readFile(join(bench.scratchRoot, kernelId, 'config', 'resource.txt'), 'utf8')).toMatch(
    new RegExp(`^\\{.*\\}\\nCID=${String(result?.containerId)}\\n$`),
  );
  const { booked, held } = bench.conservation();
  expect(booked).toEqual(held);
});

test('the record of a running kernel is on the disk before the reply leaves', async () => {
  const request = kernelRequest();
  await create(request);
  const record = decodeRecord(
    await readFile(join(bench.journal.directory, `${request.kernelId}.json`), 'utf8'),
  );
  expect(record.state).toEqual({ name: 'running' });
  expect(record.handle).toEqual(bench.backend.containers[0]?.handle);
});

test('an image that is there is not pulled', async () => {
  bench.backend.localImages.add('localhost/test/python:3.11-debian');
  await create(kernelRequest());
  expect(bench.events.names).toEqual(['kernel_preparing', 'kernel_creating', 'kernel_started']);
});

describe.each(CREATION_POINTS)('a failure at %s', (point) => {
  test('leaves nothing, is told to the caller and ends the announced kernel once', async () => {
    const bystander = kernelRequest();
    await create(bystander);
    const failing = await LifecycleBench.open();
    try {
      failing.faults.fail(point);
      const request = kernelRequest();
      await expect(failing.lifecycle.create([request], never)).rejects.toThrow(
        `injected failure at ${point}`,
      );
      expect(await failing.leftovers()).toEqual(NOTHING);
      const announced = point !== 'journal.record:1';
      const reason = [...START_POINTS].some((one) => one === point) ? 'failed-to-start' : 'failed-to-create';
      expect(failing.events.terminations()).toEqual(announced ? [reason] : []);
      expect(failing.events.names.includes('do_agent_resource_check')).toBe(point === 'resources.allocate');
      // The same kernel may be asked for again at once.
      await failing.lifecycle.create([request], never);
      expect(failing.registry.get(request.kernelId).state.name).toBe('running');
    } finally {
      await failing.remove();
    }
    expect(bench.registry.get(bystander.kernelId).state.name).toBe('running');
  });
});

describe('a container whose creation failed only in appearance', () => {
  test('goes with its kernel, which ends once (C8)', async () => {
    bench.faults.fail('backend.create:lost');
    await expect(create(kernelRequest())).rejects.toThrow('injected failure at backend.create:lost');
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(await bench.lifecycle.compareWithBackend()).toMatchObject({ ended: [] });
    expect(bench.events.terminations()).toEqual(['failed-to-create']);
  });

  test('keeps what its kernel holds until the backend can tell of it (C8)', async () => {
    bench.faults.fail('backend.create:lost');
    bench.faults.fail('backend.list');
    const request = kernelRequest();
    await expect(create(request)).rejects.toThrow('injected failure at backend.create:lost');
    expect(bench.registry.get(request.kernelId).state.name).toBe('terminating');
    expect(bench.conservation().booked).toEqual(bench.conservation().held);
    expect(bench.events.terminations()).toEqual([]);
    bench.clock.advance(1_000);
    await bench.until(() => bench.events.terminations().length === 1);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('goes after a restart of the daemon, too (C8)', async () => {
    bench.faults.fail('backend.create:lost');
    bench.faults.fail('backend.list');
    await expect(create(kernelRequest())).rejects.toThrow();
    const next = bench.crashed();
    await next.lifecycle.recover();
    expect(await next.leftovers()).toEqual(NOTHING);
    expect(next.events.terminations()).toEqual(['failed-to-create']);
    await next.lifecycle.close();
  });
});

describe.each(HANGING_POINTS)('while a creation is at %s', (point) => {
  test('its cancellation leaves nothing', async () => {
    const hang = bench.faults.hang(point);
    const caller = new AbortController();
    const creation = create(kernelRequest(), caller.signal);
    await hang.entered;
    caller.abort();
    hang.release();
    await expect(creation).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toHaveLength(point === 'journal.record:1' ? 0 : 1);
  });

  test('a destroy request breaks it off and is answered once with its reason', async () => {
    const hang = bench.faults.hang(point);
    const request = kernelRequest();
    const creation = create(request);
    await hang.entered;
    const destruction = destroy(request);
    hang.release();
    await destruction;
    await expect(creation).rejects.toMatchObject({ pythonName: 'AgentError' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['user-requested']);
  });

  test('a silent destroy request breaks it off silently', async () => {
    const hang = bench.faults.hang(point);
    const request = kernelRequest();
    const creation = create(request);
    await hang.entered;
    const destruction = destroy(request, true);
    hang.release();
    await destruction;
    await expect(creation).rejects.toMatchObject({ pythonName: 'AgentError' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual([]);
  });
});

test.each(START_POINTS)(
  'a container that exits while the creation is at %s ends it as self-terminated',
  async (point) => {
    const hang = bench.faults.hang(point);
    const request = kernelRequest();
    const creation = create(request);
    await hang.entered;
    bench.backend.exit(request.kernelId, 3);
    await bench.until(() => bench.registry.find(request.kernelId)?.termination != null);
    hang.release();
    await expect(creation).rejects.toThrow(/the container exited/);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['self-terminated']);
    expect(bench.events.all.at(-1)).toMatchObject({ exitCode: 3 });
  },
);

describe('a repeat of a creation', () => {
  test('joins the running one', async () => {
    const hang = bench.faults.hang('backend.create');
    const request = kernelRequest();
    const first = create(request);
    await hang.entered;
    const second = create(request);
    hang.release();
    expect(await second).toEqual(await first);
    expect(bench.backend.containers).toHaveLength(1);
    expect(bench.events.names.filter((name) => name === 'kernel_started')).toHaveLength(1);
  });

  test('within one call makes one kernel', async () => {
    const request = kernelRequest();
    const results = await bench.lifecycle.create([request, request], never);
    expect(results).toHaveLength(2);
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('returns what the first one made, without events', async () => {
    const request = kernelRequest();
    const first = await create(request);
    const events = bench.events.all.length;
    expect(await create(request)).toEqual(first);
    expect(bench.events.all).toHaveLength(events);
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('keeps the creation alive when the first caller cancels', async () => {
    const hang = bench.faults.hang('runners.waitReady');
    const request = kernelRequest();
    const firstCaller = new AbortController();
    const first = create(request, firstCaller.signal);
    await hang.entered;
    const second = create(request);
    firstCaller.abort();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    hang.release();
    await expect(second).resolves.toHaveLength(1);
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
  });

  test('after a cancelled one waits for its clean-up and makes the kernel', async () => {
    const hang = bench.faults.hang('backend.create');
    const cleaning = bench.faults.hang('events.publish:kernel_terminated');
    const request = kernelRequest();
    const caller = new AbortController();
    const first = create(request, caller.signal);
    await hang.entered;
    caller.abort();
    await cleaning.entered;
    const second = create(request);
    cleaning.release();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(second).resolves.toHaveLength(1);
    expect(bench.events.names.slice(-4)).toEqual([
      'kernel_terminated',
      'kernel_preparing',
      'kernel_creating',
      'kernel_started',
    ]);
  });

  test('that waits behind a clean-up goes with the destroy request that comes then', async () => {
    const hang = bench.faults.hang('backend.create');
    const cleaning = bench.faults.hang('events.publish:kernel_terminated');
    const request = kernelRequest();
    const caller = new AbortController();
    const first = create(request, caller.signal);
    await hang.entered;
    caller.abort();
    await cleaning.entered;
    const second = create(request);
    const destruction = destroy(request);
    await expect(second).rejects.toMatchObject({ code: 'KERNEL_CREATION_CANCELLED' });
    cleaning.release();
    await Promise.all([destruction, expect(first).rejects.toMatchObject({ code: 'CANCELLED' })]);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['failed-to-create']);
  });

  test('is refused for a while after a destroy request broke the creation off', async () => {
    const hang = bench.faults.hang('backend.create');
    const request = kernelRequest();
    const first = create(request);
    await hang.entered;
    await destroy(request);
    await expect(first).rejects.toThrow(/destroyed/);
    await expect(create(request)).rejects.toMatchObject({ code: 'KERNEL_CREATION_CANCELLED' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    bench.clock.advance(31_000);
    await expect(create(request)).resolves.toHaveLength(1);
  });
});

test('a runner that does not answer in time is named as the cause', async () => {
  bench.faults.fail('runners.waitReady', { error: new TimeoutError('no answer') });
  const request = kernelRequest();
  await expect(create(request)).rejects.toMatchObject({
    pythonName: 'AgentError',
    message: expect.stringMatching(
      new RegExp(`^Timeout during container startup \\(k:${request.kernelId}, container:container-`),
    ) as unknown,
  });
});

describe('several kernels in one call', () => {
  test('are created a few at a time, and results keep the order of the request', async () => {
    await bench.remove();
    bench = await LifecycleBench.open({ creationConcurrency: 2 });
    const hangs = bench.faults.hang('backend.create');
    const requests = [kernelRequest(), kernelRequest(), kernelRequest()];
    const creation = bench.lifecycle.create(requests, never);
    await hangs.entered;
    // The first is held; the two others pass through the second place, one after the other.
    await bench.until(() => bench.events.names.filter((name) => name === 'kernel_started').length === 2);
    hangs.release();
    const results = await creation;
    expect(results.map(({ id }) => id)).toEqual(requests.map(({ kernelId }) => kernelId));
  });

  test('that wait for their turn can be destroyed before it', async () => {
    await bench.remove();
    bench = await LifecycleBench.open({ creationConcurrency: 1 });
    const hang = bench.faults.hang('backend.create');
    const [first, second] = [kernelRequest(), kernelRequest()];
    const creation = bench.lifecycle.create([first, second], never);
    creation.catch(() => undefined);
    await hang.entered;
    expect(bench.lifecycle.isCreating(second.kernelId)).toBe(true);
    await destroy(second);
    expect(bench.events.terminations()).toEqual(['user-requested']);
    hang.release();
    await expect(creation).rejects.toMatchObject({ code: 'KERNEL_CREATION_CANCELLED' });
    expect(bench.registry.get(first.kernelId).state.name).toBe('running');
    expect(bench.backend.containersOf(second.kernelId)).toEqual([]);
  });

  test('one failure is that error, and the others stay', async () => {
    bench.faults.fail('resources.allocate', { error: new Error('not enough') });
    const requests = [kernelRequest(), kernelRequest()];
    await expect(bench.lifecycle.create(requests, never)).rejects.toThrow('not enough');
    expect(bench.registry.size).toBe(1);
  });

  test('several failures are a group', async () => {
    bench.faults.fail('backend.start', { times: 2 });
    await expect(bench.lifecycle.create([kernelRequest(), kernelRequest()], never)).rejects.toMatchObject({
      pythonName: 'TaskGroupError',
      message: 'agent.create_kernels() failed',
      errors: [{ pythonName: 'AgentError' }, { pythonName: 'AgentError' }],
    });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });
});

describe('a creation is refused', () => {
  test('for an image of another architecture', async () => {
    const request = kernelRequest();
    await expect(
      create({ ...request, imageRef: { ...request.imageRef, architecture: 'arm64' } }),
    ).rejects.toMatchObject({
      pythonName: 'AgentError',
      message: 'cannot run aarch64 image on x86_64 machine',
    });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('for an absent image that may not be pulled', async () => {
    const request = kernelRequest();
    const image = { ...request.config.image, autoPull: 'none' as const };
    await expect(create({ ...request, config: { ...request.config, image } })).rejects.toMatchObject({
      pythonName: 'ImageNotAvailable',
    });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('when the pull takes too long', async () => {
    await bench.remove();
    bench = await LifecycleBench.open({ pullTimeoutMs: 20 });
    bench.faults.hang('images.pull').entered.catch(() => undefined);
    await expect(create(kernelRequest())).rejects.toMatchObject({
      pythonName: 'AgentError',
      message: 'Image pull timeout after 0.02 seconds. (img:localhost/test/python:3.11-debian)',
    });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('when host ports run out, and takes none', async () => {
    const preopenPorts = Array.from({ length: 70 }, (_, index) => 9000 + index);
    await expect(create(kernelRequest({ config: { preopenPorts } }))).rejects.toMatchObject({
      pythonName: 'AgentError',
    });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('for a dotfile outside the home', async () => {
    const { internalData } = kernelRequest().config;
    const dotfiles = [{ path: '../../escape', data: 'x', perm: '644' }];
    await expect(
      create(kernelRequest({ config: { internalData: { ...internalData, dotfiles } } })),
    ).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('after the lifecycle is closed', async () => {
    await bench.lifecycle.close();
    await expect(create(kernelRequest())).rejects.toThrow(/shutting down/);
  });
});

test('a closed lifecycle has broken off what was being made and left running what ran', async () => {
  const running = kernelRequest();
  await create(running);
  const hang = bench.faults.hang('backend.start');
  const request = kernelRequest();
  const creation = create(request);
  await hang.entered;
  await bench.lifecycle.close();
  await expect(creation).rejects.toMatchObject({ pythonName: 'AgentError' });
  expect(bench.backend.containers.map(({ handle, status }) => [handle.kernelId, status])).toEqual([
    [running.kernelId, 'running'],
  ]);
});

test('the port that the cluster uses for SSH is taken over and given back', async () => {
  const request = kernelRequest();
  const cluster = {
    ...request.cluster,
    clusterSshPortMapping: { main1: ['10.0.0.1', 30050] as const },
  };
  const [result] = await create({ ...request, cluster });
  expect(result?.servicePorts.find(({ name }) => name === 'sshd')?.hostPorts).toEqual([30050]);
  expect(bench.conservation().booked).toEqual(bench.conservation().held);
  await destroy(request);
  expect(await bench.leftovers()).toEqual(NOTHING);
});
