import { KernelContainers } from '../../../../src/backends/docker/kernel-containers.js';
import { parseAgentId, parseKernelId } from '../../../../src/core/ids.js';
import { FakeContainers, handleOfContainer } from '../../../support/fake-containers.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const OTHER_KERNEL = parseKernelId('8f6a5f0e-0000-4000-8000-0000000000ff');

describe('containers of kernels', () => {
  let engine: FakeContainers;
  let log: RecordedLog;
  let kernels: KernelContainers;
  const handle = handleOfContainer('c1');

  beforeEach(() => {
    engine = new FakeContainers();
    log = new RecordedLog();
    kernels = new KernelContainers(engine, log);
  });

  test('one is found when its labels name the kernel and agent of the handle, and no other', async () => {
    engine.add(handle, 'running');
    expect(await kernels.find(handle)).toMatchObject({ Id: 'c1' });
    expect(await kernels.find({ ...handle, kernelId: OTHER_KERNEL })).toBeNull();
    expect(await kernels.find({ ...handle, agentId: parseAgentId('i-two') })).toBeNull();
    expect(await kernels.find(handleOfContainer('gone'))).toBeNull();
  });

  test('whether one runs is remembered from a look at it, for its own kernel only', async () => {
    expect(kernels.stateOf(handle)).toBeNull();
    const container = engine.add(handle, 'running');
    await kernels.find(handle);
    expect(kernels.stateOf(handle)).toBe('started');
    expect(kernels.stateOf({ ...handle, kernelId: OTHER_KERNEL })).toBeNull();
    container.status = 'exited';
    await kernels.find(handle);
    expect(kernels.stateOf(handle)).toBe('idle');
    kernels.forget(handle);
    expect(kernels.stateOf(handle)).toBeNull();
  });

  test('the list of an agent leaves out what has damaged labels, and says so', async () => {
    engine.add(handle);
    const damaged = engine.add(handleOfContainer('c2'));
    damaged.labels = { ...damaged.labels, 'ai.backend.splenium.state': '{' };
    expect(await kernels.list(handle.agentId)).toEqual([handle]);
    expect(await kernels.list(parseAgentId('i-two'))).toEqual([]);
    expect(log.lines).toEqual([
      expect.objectContaining({
        level: 'error',
        message: 'the labels of a kernel container are unreadable',
        fields: expect.objectContaining({ containerId: 'c2' }) as unknown,
      }),
    ]);
  });

  test('a container without our label and without the mounts of a kernel is none', async () => {
    const foreign = engine.add(handle);
    foreign.labels = { 'ai.backend.owner': handle.agentId };
    expect(await kernels.handleOf('c1', foreign.labels)).toBeNull();
    expect(await kernels.handleOf('gone', foreign.labels)).toBeNull();
  });
});
