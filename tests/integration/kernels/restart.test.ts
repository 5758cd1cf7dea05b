import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelCreationRequest, KernelRestartResult } from '../../../src/kernels/requests.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;
/** Points of a restart -> the reason with which the kernel ends when the restart fails there. */
const RESTART_POINTS = {
  'journal.record:5': 'restart-timeout',
  'runners.disconnect': 'restart-timeout',
  'backend.remove': 'restart-timeout',
  'images.isAvailable': 'failed-to-create',
  'backend.create': 'failed-to-create',
  'backend.create:after': 'failed-to-create',
  'journal.record:6': 'failed-to-create',
  'backend.start': 'failed-to-create',
  'runners.waitReady': 'failed-to-start',
  'journal.record:7': 'failed-to-start',
  'events.publish:kernel_started': 'failed-to-start',
} as const;
const POINTS = Object.entries(RESTART_POINTS);

describe.each(['unique', 'per-kernel'] as const)('with container ids that are %s:', (containerIds) => {
  let bench: LifecycleBench;
  let request: KernelCreationRequest;
  beforeEach(async () => {
    bench = await LifecycleBench.open();
    bench.backend.containerIds = containerIds;
    request = kernelRequest();
    await bench.lifecycle.create([request], never);
    await bench.lifecycle.whenIdle();
  });
  afterEach(async () => {
    await bench.abandon();
  });

  function restart(
    updatedConfig: Readonly<Record<string, unknown>> = {},
    signal = never,
  ): Promise<KernelRestartResult> {
    // Starts of one kernel are told apart by their time.
    bench.clock.advance(1);
    const { sessionId, kernelId, imageRef } = request;
    const restarting = bench.lifecycle.restart({ sessionId, kernelId, imageRef, updatedConfig }, signal);
    restarting.catch(() => undefined);
    return restarting;
  }

  function destroy(): Promise<void> {
    const { kernelId, sessionId } = request;
    return bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: false });
  }

  test('a restart makes a new container that keeps resources, ports, owners, limits and files', async () => {
    const before = bench.registry.get(request.kernelId).facts;
    const oldPlan = bench.backend.containers[0]?.plan;
    const file = join(bench.scratchRoot, request.kernelId, 'work', 'users.txt');
    await writeFile(file, 'kept');
    const result = await restart();

    const kernel = bench.registry.get(request.kernelId);
    expect(kernel.state).toEqual({ name: 'running' });
    expect(result).toEqual({
      containerId: kernel.containerId,
      replInPort: before.ports?.replIn,
      replOutPort: before.ports?.replOut,
      servicePorts: before.servicePorts,
    });
    expect(kernel.handle).not.toEqual(before.handle);
    expect(bench.backend.containers).toHaveLength(1);
    expect(bench.backend.containers[0]?.plan).toEqual(oldPlan);
    expect(kernel.facts.allocation).toEqual(before.allocation);
    expect(bench.conservation().booked).toEqual(bench.conservation().held);
    expect(await readFile(file, 'utf8')).toBe('kept');
    expect(bench.events.names.slice(4)).toEqual(['kernel_started']);
    await destroy();
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['user-requested']);
  });

  test('the exit of the old container, reported late, does not touch the new one', async () => {
    const { handle } = bench.registry.get(request.kernelId);
    await restart();
    if (handle) bench.backend.report({ handle, exitCode: 137, oomKilled: false, detail: 'late' });
    await bench.lifecycle.whenIdle();
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('an update replaces the environment of the new container', async () => {
    await restart({ environ: { ONLY: 'this' } });
    expect(bench.backend.containers[0]?.plan.environment).toMatchObject({ ONLY: 'this' });
    expect(bench.backend.containers[0]?.plan.environment).not.toHaveProperty('BACKENDAI_SESSION_NAME');
    const text = await readFile(join(bench.scratchRoot, request.kernelId, 'config', 'environ.txt'), 'utf8');
    expect(text).toContain('ONLY=this\n');
  });

  test('an update that a restart cannot make is refused, and the kernel runs on', async () => {
    await expect(restart({ resource_slots: { cpu: '2' } })).rejects.toMatchObject({
      pythonName: 'ValueError',
      message: expect.stringContaining('resource_slots') as unknown,
    });
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    expect(bench.faults.passed).not.toContain('backend.stop');
  });

  test('a restart of an unknown kernel is a KeyError with its id', async () => {
    await destroy();
    await expect(restart()).rejects.toMatchObject({ pythonName: 'KeyError', message: request.kernelId });
  });

  test('two restarts in a row run one after the other', async () => {
    const [, second] = await Promise.all([restart(), restart()]);
    expect(bench.faults.passed.filter((point) => point === 'backend.create')).toHaveLength(3);
    expect(bench.registry.get(request.kernelId).containerId).toBe(second.containerId);
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('a caller that leaves gets its cancellation, and the restart is finished', async () => {
    const hang = bench.faults.hang('backend.create');
    const caller = new AbortController();
    const restarting = restart({}, caller.signal);
    await hang.entered;
    caller.abort();
    await expect(restarting).rejects.toMatchObject({ code: 'CANCELLED' });
    hang.release();
    await bench.lifecycle.whenIdle();
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    expect(bench.events.terminations()).toEqual([]);
  });

  test('a creation repeated during a restart waits for it and returns the new container', async () => {
    const hang = bench.faults.hang('backend.create');
    const restarting = restart();
    await hang.entered;
    const repeated = bench.lifecycle.create([request], never);
    hang.release();
    const { containerId } = await restarting;
    expect(await repeated).toMatchObject([{ containerId }]);
  });

  describe.each(POINTS)('a restart that fails at %s', (point, reason) => {
    test(`ends the kernel as ${reason} and leaves nothing`, async () => {
      bench.faults.fail(point);
      await expect(restart()).rejects.toMatchObject({ message: expect.stringContaining(point) as unknown });
      const left = await bench.leftovers();
      expect(left).toEqual(NOTHING);
      expect(bench.events.terminations()).toEqual([reason]);
      // Nothing marks it as restarting any more: the id can be used again.
      await bench.lifecycle.create([request], never);
      expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    });
  });

  describe.each(POINTS.map(([point]) => point))('while a restart is at %s', (point) => {
    test('a destroy request beats it', async () => {
      const hang = bench.faults.hang(point);
      const restarting = restart();
      await hang.entered;
      const destruction = destroy();
      hang.release();
      await destruction;
      await expect(restarting).rejects.toMatchObject({ pythonName: 'AgentError' });
      expect(await bench.leftovers()).toEqual(NOTHING);
      expect(bench.events.terminations()).toEqual(['user-requested']);
    });

    test('a killed daemon leaves a kernel that the next one brings to an end or back', async () => {
      const hang = bench.faults.hang(point);
      void restart();
      await hang.entered;
      const next = bench.crashed();
      await next.lifecycle.recover();
      const told = next.events.names;
      if (point === 'journal.record:5' || point === 'events.publish:kernel_started') {
        expect(next.registry.get(request.kernelId).state.name).toBe('running');
        expect(told).toEqual(point === 'journal.record:5' ? [] : ['kernel_started']);
        expect(next.conservation().booked).toEqual(next.conservation().held);
      } else {
        expect(told).toEqual(['kernel_terminated']);
        expect(await next.leftovers()).toEqual(NOTHING);
      }
      await next.abandon();
    });
  });

  test('the new container exits before its runner answers: the kernel ends as self-terminated', async () => {
    const hang = bench.faults.hang('runners.waitReady');
    const restarting = restart();
    await hang.entered;
    bench.backend.exit(request.kernelId, 1);
    await expect(restarting).rejects.toThrow(/the container exited/);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['self-terminated']);
  });
});
