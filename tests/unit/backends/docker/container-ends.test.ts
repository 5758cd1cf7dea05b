import { ContainerEnds } from '../../../../src/backends/docker/container-ends.js';
import { KernelContainers } from '../../../../src/backends/docker/kernel-containers.js';
import type { Clock } from '../../../../src/core/clock.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { FakeContainers, handleOfContainer } from '../../../support/fake-containers.js';

/** Sleeping moves it. */
class HastyClock implements Clock {
  #nowMs = 0;
  /** Called at the end of each pause. */
  onPause: () => void = () => undefined;

  nowMs(): number {
    return this.#nowMs;
  }
  monotonicMs(): number {
    return this.#nowMs;
  }
  sleep(ms: number): Promise<void> {
    this.#nowMs += ms;
    this.onPause();
    return Promise.resolve();
  }
}

describe('the end of a container', () => {
  const handle = handleOfContainer('c1');
  let engine: FakeContainers;
  let kernels: KernelContainers;
  let clock: HastyClock;
  let ends: ContainerEnds;
  let watched: Set<string>;
  /** How long the end of a watched container was waited for. */
  let waits: number[];

  beforeEach(() => {
    engine = new FakeContainers();
    kernels = new KernelContainers(engine, silentLogger);
    clock = new HastyClock();
    watched = new Set();
    waits = [];
    const look = () => {
      if (engine.all.get('c1')?.status !== 'running') watched.delete('c1');
      return !watched.has('c1');
    };
    ends = new ContainerEnds({
      containers: engine,
      kernels,
      clock,
      killDeadlineMs: 1000,
      watcher: {
        watch: ({ containerId }) => void watched.add(containerId),
        isWatching: ({ containerId }) => watched.has(containerId),
        expectEnd: () => undefined,
        look: () => Promise.resolve(look()),
        ended: (_, timeoutMs) => {
          waits.push(timeoutMs);
          return Promise.resolve(look());
        },
      },
    });
  });

  const run = () => {
    const container = engine.add(handle, 'running');
    kernels.learn(handle, 'started');
    watched.add('c1');
    return container;
  };

  test('one that is watched is asked to end without a look at it first', async () => {
    run();
    expect(await ends.stop(handle, 5000)).toBe(true);
    expect(engine.calls).toEqual(['SIGINT c1']);
    expect(waits).toEqual([5000]);
  });

  test('one that does not listen is killed after the grace time', async () => {
    run();
    engine.onKill = (container, signal) => {
      if (signal === 'SIGKILL') container.status = 'exited';
    };
    expect(await ends.stop(handle, 5000)).toBe(true);
    expect(engine.calls).toEqual(['SIGINT c1', 'SIGKILL c1']);
    expect(waits).toEqual([5000, 1000]);
  });

  test('without a grace time it is killed at once', async () => {
    run();
    await ends.stop(handle, 0);
    expect(engine.calls).toEqual(['SIGKILL c1']);
  });

  test('one that outlives its kill is an error that names it', async () => {
    run();
    engine.onKill = () => undefined;
    await expect(ends.stop(handle, 0)).rejects.toMatchObject({
      code: 'BACKEND_STOP_FAILED',
      retryable: true,
      message: expect.stringMatching(/container c1 of kernel .* is still there 1000 ms after/) as unknown,
    });
  });

  test('one of which nobody knows whether it runs is looked at, and watched when it does', async () => {
    engine.add(handle, 'running');
    expect(await ends.stop(handle, 0)).toBe(true);
    expect(engine.calls).toEqual(['inspect c1', 'SIGKILL c1']);
    expect(await ends.stop(handleOfContainer('gone'), 0)).toBe(false);
  });

  test('one that was made and never started, or seen to end, costs no call', async () => {
    engine.add(handle);
    kernels.learn(handle, 'fresh');
    expect(await ends.stop(handle, 0)).toBe(true);
    kernels.learn(handle, 'idle');
    expect(await ends.stop(handle, 0)).toBe(true);
    expect(engine.calls).toEqual([]);
  });

  test('a removal that somebody else has begun is waited for', async () => {
    engine.add(handle);
    kernels.learn(handle, 'fresh');
    engine.isRemovalSlow = true;
    clock.onPause = () => {
      if (clock.nowMs() > 100) engine.all.delete('c1');
    };
    await ends.remove(handle);
    expect(engine.all.size).toBe(0);
    expect(kernels.stateOf(handle)).toBeNull();
  });

  test('a removal that never ends is an error', async () => {
    engine.add(handle);
    kernels.learn(handle, 'fresh');
    engine.isRemovalSlow = true;
    await expect(ends.remove(handle)).rejects.toMatchObject({ code: 'BACKEND_STOP_FAILED' });
  });

  test('a kill that nobody is told of gives the container as it ended', async () => {
    engine.add(handle, 'running');
    expect(await ends.kill(handle)).toMatchObject({ Id: 'c1', State: { Status: 'exited' } });
    engine.all.clear();
    expect(await ends.kill(handle)).toBeNull();
  });
});
