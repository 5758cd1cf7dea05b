import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAgentId } from '../../../src/core/ids.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { CREATION_POINTS, LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;

let bench: LifecycleBench;
const benches: LifecycleBench[] = [];
beforeEach(async () => {
  bench = await LifecycleBench.open();
});
afterEach(async () => {
  for (const next of benches.splice(0)) await next.abandon();
  await bench.abandon();
});

async function running(): Promise<KernelCreationRequest> {
  const request = kernelRequest();
  await bench.lifecycle.create([request], never);
  await bench.lifecycle.whenIdle();
  return request;
}

/** The daemon is killed and started again. */
async function restarted(from: LifecycleBench = bench): Promise<LifecycleBench> {
  const next = from.crashed();
  benches.push(next);
  await next.lifecycle.recover();
  return next;
}

function destroy(on: LifecycleBench, { kernelId, sessionId }: KernelCreationRequest): Promise<void> {
  return on.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: false });
}

test('a running kernel goes on after the daemon was killed: same resources, ports, link and answer', async () => {
  const request = await running();
  const before = bench.registry.get(request.kernelId).facts;
  const next = await restarted();
  expect(next.registry.get(request.kernelId).facts).toEqual(before);
  expect(next.conservation()).toEqual(bench.conservation());
  expect(next.runners.open.get(request.kernelId)).toBe(before.endpoints?.replIn);
  expect(next.events.all).toEqual([]);
  expect(await next.lifecycle.create([request], never)).toEqual([before.result]);
  await destroy(next, request);
  expect(await next.leftovers()).toEqual(NOTHING);
  expect(next.events.terminations()).toEqual(['user-requested']);
});

test('an exit after the recovery is noticed', async () => {
  const request = await running();
  const next = await restarted();
  next.backend.exit(request.kernelId, 1);
  await next.until(() => next.events.terminations().length === 1);
  expect(await next.leftovers()).toEqual(NOTHING);
});

describe.each(CREATION_POINTS.filter((point) => point !== 'resources.allocate'))(
  'a daemon killed while a creation is at %s',
  (point) => {
    test.each(['', ':after'])('finds a clean machine or a whole kernel (%s)', async (when) => {
      if (when !== '' && !point.startsWith('journal.')) return;
      const hang = bench.faults.hang(`${point}${when}`);
      const request = kernelRequest();
      bench.lifecycle.create([request], never).catch(() => undefined);
      await hang.entered;
      const next = await restarted();

      const whole = ['journal.record:3:after', 'events.publish:kernel_started'].includes(`${point}${when}`);
      if (whole) {
        expect(next.events.names).toEqual(['kernel_started']);
        expect(next.registry.get(request.kernelId).state.name).toBe('running');
        expect(next.conservation().booked).toEqual(next.conservation().held);
        await destroy(next, request);
      }
      expect(await next.leftovers()).toEqual(NOTHING);
      const recorded = `${point}${when}` !== 'journal.record:1';
      expect(next.events.terminations(request.kernelId)).toHaveLength(recorded ? 1 : 0);
    });
  },
);

test.each([
  'runners.disconnect',
  'backend.stop',
  'backend.stop:after',
  'backend.remove',
  'backend.remove:after',
  'events.publish:kernel_terminated',
  'journal.forget',
])(
  'a daemon killed while a kernel ends at %s finishes the end with its reason, announced once',
  async (point) => {
    const request = await running();
    const hang = bench.faults.hang(point);
    const { kernelId, sessionId } = request;
    bench.lifecycle
      .destroy({ kernelId, sessionId, reason: 'idle-timeout', suppressEvents: false })
      .catch(() => undefined);
    await hang.entered;
    const next = await restarted();
    expect(await next.leftovers()).toEqual(NOTHING);
    expect([...bench.events.terminations(), ...next.events.terminations()]).toEqual(['idle-timeout']);
  },
);

test('a silent end that a crash cuts short stays silent', async () => {
  const request = await running();
  const hang = bench.faults.hang('backend.stop');
  const { kernelId, sessionId } = request;
  bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: true }).catch(() => undefined);
  await hang.entered;
  const next = await restarted();
  expect(await next.leftovers()).toEqual(NOTHING);
  expect(next.events.all).toEqual([]);
});

test('a second crash during the recovery loses nothing', async () => {
  const request = await running();
  bench.backend.exit(request.kernelId, 5, { silently: true });
  const second = bench.crashed();
  benches.push(second);
  const hang = second.faults.hang('backend.remove');
  second.lifecycle.recover().catch(() => undefined);
  await hang.entered;
  const third = await restarted(second);
  expect(await third.leftovers()).toEqual(NOTHING);
  expect(third.events.terminations()).toEqual(['self-terminated']);
});

describe('while the daemon was away', () => {
  test('a container exited: the kernel ends as self-terminated with its status', async () => {
    const request = await running();
    bench.backend.exit(request.kernelId, 9, { silently: true });
    const next = await restarted();
    expect(await next.leftovers()).toEqual(NOTHING);
    expect(next.events.all).toMatchObject([
      { name: 'kernel_terminated', reason: 'self-terminated', exitCode: 9 },
    ]);
  });

  test('a container vanished: the kernel ends as container-not-found', async () => {
    const request = await running();
    bench.backend.vanish(request.kernelId);
    const next = await restarted();
    expect(await next.leftovers()).toEqual(NOTHING);
    expect(next.events.terminations(request.kernelId)).toEqual(['container-not-found']);
  });

  describe('a record went missing', () => {
    const withoutRecord = async (): Promise<KernelCreationRequest> => {
      const request = await running();
      await bench.journal.forget(request.kernelId);
      return request;
    };
    const inScratch = ({ kernelId }: KernelCreationRequest, path: string) =>
      join(bench.scratchRoot, kernelId, path);
    const announced = ({ kernelId, sessionId }: KernelCreationRequest) => [
      {
        name: 'kernel_terminated',
        kernelId,
        sessionId,
        reason: 'terminated-unknown-container',
        exitCode: -1,
      },
    ];
    const missing = (next: LifecycleBench): unknown =>
      next.logger.lines.find(({ message }) => message.includes('cannot be taken over'))?.fields['missing'];

    test('the kernel is taken over as it was, by the record in its scratch directory', async () => {
      const request = await withoutRecord();
      const before = bench.registry.get(request.kernelId).facts;
      const next = await restarted();
      expect(next.registry.get(request.kernelId).facts).toEqual(before);
      expect(next.conservation()).toEqual(bench.conservation());
      expect(next.runners.open.get(request.kernelId)).toBe(before.endpoints?.replIn);
      expect(next.events.all).toEqual([]);
      expect(await readdir(next.journal.directory)).toEqual([`${request.kernelId}.json`]);
      await destroy(next, request);
      expect(await next.leftovers()).toEqual(NOTHING);
      expect(next.events.terminations()).toEqual(['user-requested']);
    });

    test('the kernel is taken over from its container and its files alone', async () => {
      const request = await withoutRecord();
      const before = bench.registry.get(request.kernelId).facts;
      await rm(inScratch(request, 'kernel.json'));
      const next = await restarted();
      const { facts } = next.registry.get(request.kernelId);
      expect(facts.allocation).toEqual({ ...before.allocation, shmemBytes: '67108864' });
      expect(facts.ports).toEqual({ ...before.ports, booked: expect.arrayContaining([]) as unknown });
      expect([...(facts.ports?.booked ?? [])].sort()).toEqual([...(before.ports?.booked ?? [])].sort());
      expect(facts.servicePorts).toEqual(before.servicePorts);
      expect(facts.result).toMatchObject({
        containerId: before.handle?.containerId,
        kernelHost: '127.0.0.1',
      });
      expect(facts.request.config).toMatchObject({
        clusterRole: 'main',
        ownerUserId: request.config.ownerUserId,
        environ: { BACKENDAI_SESSION_NAME: 'a-session' },
      });
      expect(next.conservation().booked).toEqual(bench.conservation().booked);
      expect(next.events.all).toEqual([]);
      const { imageRef, kernelId, sessionId } = request;
      await next.lifecycle.restart({ sessionId, kernelId, imageRef, updatedConfig: {} }, never);
      expect(next.conservation().booked).toEqual(bench.conservation().booked);
      await destroy(next, request);
      expect(await next.leftovers()).toEqual(NOTHING);
    });

    test('an exit after that is noticed', async () => {
      const request = await withoutRecord();
      const next = await restarted();
      next.backend.exit(request.kernelId, 1);
      await next.until(() => next.events.terminations().length === 1);
      expect(await next.leftovers()).toEqual(NOTHING);
    });

    test('a second loss of the record does no harm', async () => {
      const request = await withoutRecord();
      const next = await restarted();
      await next.journal.forget(request.kernelId);
      const third = await restarted(next);
      expect(third.conservation()).toEqual(bench.conservation());
    });

    test.each<[string, string, (request: KernelCreationRequest) => Promise<unknown>]>([
      [
        'no resource.txt',
        'it has no resource.txt',
        async (request) => {
          await rm(inScratch(request, 'kernel.json'));
          await rm(inScratch(request, 'config/resource.txt'));
        },
      ],
      [
        'an unreadable resource.txt',
        'its resource.txt cannot be used',
        async (request) => {
          await rm(inScratch(request, 'kernel.json'));
          await writeFile(inScratch(request, 'config/resource.txt'), 'CID=1\n');
        },
      ],
      [
        'no ports of its runner',
        'publishes no ports of a runner',
        async (request) => {
          await rm(inScratch(request, 'kernel.json'));
          const [container] = bench.backend.containersOf(request.kernelId);
          if (container) Object.assign(container.plan, { ports: [] });
        },
      ],
    ])('a kernel with %s is ended, announced, and the log says why', async (_, why, damage) => {
      const request = await withoutRecord();
      await damage(request);
      const next = await restarted();
      expect(await next.leftovers()).toEqual(NOTHING);
      expect(next.events.all).toEqual(announced(request));
      expect(missing(next)).toContain(why);
    });

    test('a record in the scratch directory that is damaged counts as none', async () => {
      const request = await withoutRecord();
      await writeFile(inScratch(request, 'kernel.json'), '{');
      const next = await restarted();
      expect(next.registry.size).toBe(1);
    });

    test('a kernel whose runner does not answer is ended, and nothing stays booked', async () => {
      const request = await withoutRecord();
      const next = bench.crashed();
      benches.push(next);
      next.faults.fail('runners.waitReady');
      await next.lifecycle.recover();
      expect(await next.leftovers()).toEqual(NOTHING);
      expect(next.events.all).toEqual(announced(request));
    });

    test('a kernel whose core a sibling with a record has is ended', async () => {
      const [first, second] = [await running(), await withoutRecord()];
      const path = inScratch(second, 'kernel.json');
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replace('{"cpu":{"cpu":{"1":"1"}}}', '{"cpu":{"cpu":{"0":"1"}}}'));
      const next = await restarted();
      expect([...next.registry].map(({ id }) => id)).toEqual([first.kernelId]);
      expect(next.events.all).toEqual(announced(second));
      expect(next.conservation().booked).toEqual(next.conservation().held);
      expect(missing(next)).toContain('core 0 belongs to');
    });

    test('a container that has ended is removed and announced', async () => {
      const request = await withoutRecord();
      bench.backend.exit(request.kernelId, 3, { silently: true });
      const next = await restarted();
      expect(await next.leftovers()).toEqual(NOTHING);
      expect(next.events.all).toEqual(announced(request));
    });
  });

  test('a record was damaged: it is set aside loudly, and its kernel goes on as the others', async () => {
    const [damaged, sound] = [await running(), await running()];
    const path = join(bench.journal.directory, `${damaged.kernelId}.json`);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.slice(0, 500));
    const next = await restarted();
    expect([...next.registry].map(({ id }) => id).sort()).toEqual([sound.kernelId, damaged.kernelId].sort());
    expect(next.events.all).toEqual([]);
    const files = await readdir(next.journal.directory);
    const aside = files.filter((name) => name.includes('unreadable'));
    expect(aside).toHaveLength(1);
    expect(await readFile(join(next.journal.directory, String(aside[0])), 'utf8')).toBe(text.slice(0, 500));
    expect(next.logger.messages('error')).toContainEqual(expect.stringContaining('set aside'));
    expect(JSON.stringify(next.logger.lines)).not.toContain('cluster private');
  });

  test('another kernel got its resources: the kernel ends rather than share them', async () => {
    const [first, second] = [await running(), await running()];
    const path = join(bench.journal.directory, `${second.kernelId}.json`);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('{"cpu":{"cpu":{"1":"1"}}}', '{"cpu":{"cpu":{"0":"1"}}}'));
    const next = await restarted();
    expect(next.registry.size).toBe(1);
    expect(next.events.all).toMatchObject([{ name: 'kernel_terminated', reason: 'anomaly-detected' }]);
    expect(next.conservation().booked).toEqual(next.conservation().held);
    expect([first.kernelId, second.kernelId]).toContain([...next.registry][0]?.id);
  });
});

test('a kernel keeps its scratch directory when the scratch root changes, and takes it along when it ends', async () => {
  const [recorded, lost, stray] = [await running(), await running(), await running()];
  await bench.journal.forget(lost.kernelId);
  await bench.journal.forget(stray.kernelId);
  bench.backend.exit(stray.kernelId, 0, { silently: true });
  const next = bench.crashed({ scratchRoot: join(bench.directory, 'elsewhere') });
  benches.push(next);
  await next.lifecycle.recover();
  const { imageRef, kernelId, sessionId } = recorded;
  await next.lifecycle.restart({ sessionId, kernelId, imageRef, updatedConfig: {} }, never);
  expect((await readdir(next.scratchRoot)).sort()).toEqual([recorded.kernelId, lost.kernelId].sort());
  await destroy(next, recorded);
  await destroy(next, lost);
  expect(await next.leftovers()).toEqual(NOTHING);
});

test('a container of a sibling agent is left alone', async () => {
  const request = await running();
  const [container] = bench.backend.containers;
  if (container) Object.assign(container.plan, { labels: { 'ai.backend.owner': parseAgentId('i-sibling') } });
  await bench.journal.forget(request.kernelId);
  const next = await restarted();
  expect(next.backend.containers).toHaveLength(1);
  expect(next.events.all).toEqual([]);
});

test('a backend that cannot say leaves the kernel as the journal knows it', async () => {
  const request = await running();
  const next = bench.crashed();
  benches.push(next);
  next.faults.fail('backend.inspect');
  await next.lifecycle.recover();
  expect(next.registry.get(request.kernelId).state.name).toBe('running');
  expect(next.runners.open.has(request.kernelId)).toBe(true);
});

test('a runner that cannot be connected keeps the kernel under control', async () => {
  const request = await running();
  const next = bench.crashed();
  benches.push(next);
  next.faults.fail('runners.connect');
  await next.lifecycle.recover();
  await destroy(next, request);
  expect(await next.leftovers()).toEqual(NOTHING);
});

test('an exit reported before the recovery is over is not taken for a stranger’s', async () => {
  const request = await running();
  const next = bench.crashed();
  benches.push(next);
  const hang = next.faults.hang('backend.list');
  const recovery = next.lifecycle.recover();
  await hang.entered;
  next.backend.exit(request.kernelId, 2);
  hang.release();
  await recovery;
  await next.until(() => next.events.terminations().length === 1);
  expect(next.events.all).toMatchObject([{ reason: 'self-terminated', exitCode: 2 }]);
  expect(await next.leftovers()).toEqual(NOTHING);
});
