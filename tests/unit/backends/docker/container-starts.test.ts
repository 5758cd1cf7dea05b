import { ContainerStarts } from '../../../../src/backends/docker/container-starts.js';
import { EngineError } from '../../../../src/backends/docker/errors.js';
import { KernelContainers } from '../../../../src/backends/docker/kernel-containers.js';
import type { KernelHandle } from '../../../../src/backends/backend.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { FakeContainers, handleOfContainer } from '../../../support/fake-containers.js';

const NEVER = new AbortController().signal;

describe('the start of a container', () => {
  const handle = handleOfContainer('c1');
  let engine: FakeContainers;
  let kernels: KernelContainers;
  let starts: ContainerStarts;
  let watched: Set<string>;
  let joined: string[];
  let connect: () => Promise<void>;

  beforeEach(() => {
    engine = new FakeContainers();
    kernels = new KernelContainers(engine, silentLogger);
    watched = new Set();
    joined = [];
    connect = () => Promise.resolve();
    starts = new ContainerStarts({
      engine: {
        containers: engine,
        networks: {
          connect: (name) => {
            joined.push(name);
            return connect();
          },
        },
      },
      kernels,
      ends: {
        kill: async ({ containerId }: KernelHandle) => {
          await engine.kill(containerId, 'SIGKILL');
          return engine.inspect(containerId);
        },
      },
      watcher: {
        watch: ({ containerId }) => void watched.add(containerId),
        forget: ({ containerId }) => void watched.delete(containerId),
        look: () => Promise.resolve(false),
      },
      usage: { learn: () => undefined },
    });
  });

  const fresh = (of: KernelHandle = handle) => {
    const container = engine.add(of);
    kernels.learn(of, 'fresh');
    return container;
  };

  test('one that this process has made is started without a look at it first, and watched', async () => {
    fresh();
    await starts.start(handle, NEVER);
    expect(engine.calls).toEqual(['start c1', 'inspect c1']);
    expect([...watched]).toEqual(['c1']);
  });

  test('one that runs already is only watched', async () => {
    engine.add(handle, 'running');
    await starts.start(handle, NEVER);
    expect(engine.calls).toEqual(['inspect c1']);
    expect([...watched]).toEqual(['c1']);
  });

  test('one that is gone, before or at the start, is an error of its own', async () => {
    await expect(starts.start(handle, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_MISSING' });
    kernels.learn(handle, 'fresh');
    await expect(starts.start(handle, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_MISSING' });
  });

  test('networks of its devices are joined, but for those that it is on', async () => {
    const networked = handleOfContainer('c1', { networks: ['bridge', 'rdma'] });
    fresh(networked);
    await starts.start(networked, NEVER);
    expect(joined).toEqual(['rdma']);
  });

  test('a start that cannot be completed is undone, and nobody watches', async () => {
    const networked = handleOfContainer('c1', { networks: ['rdma'] });
    const container = fresh(networked);
    connect = () => Promise.reject(new EngineError('no such network'));
    await expect(starts.start(networked, NEVER)).rejects.toThrow('no such network');
    expect(container.status).toBe('exited');
    expect([...watched]).toEqual([]);
  });

  test('other host ports than those that were reserved undo it, too', async () => {
    const published = handleOfContainer('c1', { published: { '2000/tcp': [30_000] } });
    const container = fresh(published);
    await expect(starts.start(published, NEVER)).rejects.toMatchObject({ code: 'BACKEND_PORT_MISMATCH' });
    expect(container.status).toBe('exited');
  });

  test('a run that was cancelled does not count, until the container is started again or gone', async () => {
    const container = fresh();
    const controller = new AbortController();
    engine.onStart = () => {
      controller.abort();
    };
    await expect(starts.start(handle, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    const ended = await engine.inspect('c1');
    if (ended === null) throw new Error('the container is gone');
    expect(container.status).toBe('exited');
    expect(starts.wasCancelled(ended)).toBe(true);
    engine.onStart = () => undefined;
    await starts.start(handle, NEVER);
    const running = await engine.inspect('c1');
    expect(running && starts.wasCancelled(running)).toBe(false);
    starts.forget(handle);
    expect(starts.wasCancelled(ended)).toBe(false);
  });
});
