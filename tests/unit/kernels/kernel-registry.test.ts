import { randomUUID } from 'node:crypto';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { AggregateKernelRegistry } from '../../../src/kernels/aggregate-kernel-registry.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { describeKernel } from '../../../src/kernels/kernel-description.js';
import { KernelRegistry, type KernelRegistryChange } from '../../../src/kernels/kernel-registry.js';
import { kernelRequest } from '../../support/kernel-requests.js';

const one = parseAgentId('i-one');
const two = parseAgentId('i-two');

function kernelOf(agentId: typeof one, changes: Parameters<typeof kernelRequest>[0] = {}): Kernel {
  return Kernel.requested(agentId, kernelRequest(changes), 1_000);
}

function withContainer(kernel: Kernel, containerId: string): Kernel {
  kernel.learn({
    handle: {
      version: 1,
      backend: 'dummy',
      agentId: kernel.agentId,
      kernelId: kernel.id,
      sessionId: kernel.sessionId,
      containerId: asContainerId(containerId),
      state: {},
    },
  });
  return kernel;
}

describe('the registry of one agent', () => {
  test('finds its kernels and says which it does not have', () => {
    const registry = new KernelRegistry(one);
    const kernel = withContainer(kernelOf(one), 'container-a');
    registry.add(kernel);
    expect(registry.get(kernel.id)).toBe(kernel);
    expect(registry.findByContainer(asContainerId('container-a'))).toBe(kernel);
    expect(registry.bySession(kernel.sessionId)).toEqual([kernel]);
    expect([...registry]).toEqual([kernel]);
    const absent = parseKernelId(randomUUID());
    expect(registry.find(absent)).toBeUndefined();
    expect(() => registry.get(absent)).toThrow(
      expect.objectContaining({ pythonName: 'KeyError', pythonRepr: `KeyError('${absent}')` }),
    );
  });

  test('refuses a kernel of another agent and an id that it has', () => {
    const registry = new KernelRegistry(one);
    const kernel = kernelOf(one);
    registry.add(kernel);
    expect(() => {
      registry.add(kernelOf(two));
    }).toThrow(/belongs to agent i-two/);
    expect(() => {
      registry.add(kernelOf(one, { kernelId: kernel.id }));
    }).toThrow(/already has kernel/);
    expect(registry.size).toBe(1);
  });

  test('forgets a removed kernel in every respect, once', () => {
    const registry = new KernelRegistry(one);
    const kernel = withContainer(kernelOf(one), 'container-a');
    registry.add(kernel);
    expect(registry.remove(kernel.id)).toBe(kernel);
    expect(registry.remove(kernel.id)).toBeUndefined();
    expect(registry.size).toBe(0);
    expect(registry.bySession(kernel.sessionId)).toEqual([]);
    expect(registry.findByContainer(asContainerId('container-a'))).toBeUndefined();
  });

  test('tells of additions, changes and removals until told to stop, and outlives a listener that throws', () => {
    const registry = new KernelRegistry(one);
    const seen: string[] = [];
    registry.onChange(() => {
      throw new Error('a bad listener');
    });
    const unsubscribe = registry.onChange(({ type, kernel }) => seen.push(`${type} ${kernel.state.name}`));
    const kernel = kernelOf(one);
    registry.add(kernel);
    kernel.terminate({ reason: 'user-requested' });
    registry.remove(kernel.id);
    kernel.announced();
    unsubscribe();
    registry.add(kernelOf(one));
    expect(seen).toEqual(['added preparing', 'changed terminating', 'removed terminating']);
  });
});

describe('the registry of all agents', () => {
  const setUp = () => {
    const registries = { one: new KernelRegistry(one), two: new KernelRegistry(two) };
    const all = new AggregateKernelRegistry();
    all.attach(registries.one);
    all.attach(registries.two);
    return { ...registries, all };
  };

  test('shows the kernels of every agent, live', () => {
    const { one: first, two: second, all } = setUp();
    const sessionId = parseSessionId(randomUUID());
    const a = withContainer(kernelOf(one, { sessionId }), 'container-a');
    const b = kernelOf(two, { sessionId });
    first.add(a);
    second.add(b);
    second.add(kernelOf(two));
    expect(all.size).toBe(3);
    expect(all.get(b.id)).toBe(b);
    expect(all.bySession(sessionId)).toEqual([a, b]);
    expect(all.findByContainer(asContainerId('container-a'))).toBe(a);
    expect([...all].map(({ agentId }) => agentId)).toEqual([one, two, two]);
    expect(all.counts()).toEqual(
      new Map([
        [one, 1],
        [two, 2],
      ]),
    );
    a.terminate({ reason: 'user-requested' });
    expect(all.byState('terminating')).toEqual([a]);
    expect(all.byState('running')).toEqual([]);
    first.remove(a.id);
    expect(all.find(a.id)).toBeUndefined();
    expect(() => all.get(a.id)).toThrow(expect.objectContaining({ pythonName: 'KeyError', message: a.id }));
  });

  test('refuses one id under two agents and names both', () => {
    const { one: first, two: second, all } = setUp();
    const kernel = kernelOf(one);
    first.add(kernel);
    const twin = kernelOf(two, { kernelId: kernel.id });
    expect(() => {
      second.add(twin);
    }).toThrow(
      expect.objectContaining({
        code: 'KERNEL_ID_DUPLICATE',
        message: expect.stringMatching(/agent i-two exists already under agent i-one/) as unknown,
      }),
    );
    expect(second.size).toBe(0);
    expect(all.get(kernel.id)).toBe(kernel);
    first.remove(kernel.id);
    second.add(twin);
    expect(all.get(kernel.id)).toBe(twin);
  });

  test('refuses an agent that brings an id of another, and an agent that is there', () => {
    const { one: first, all } = setUp();
    const kernel = kernelOf(one);
    first.add(kernel);
    const third = new KernelRegistry(parseAgentId('i-three'));
    third.add(kernelOf(third.agentId, { kernelId: kernel.id }));
    expect(() => all.attach(third)).toThrow(/i-three.*i-one/);
    expect(() => all.attach(first)).toThrow(/already attached/);
  });

  test('passes on changes of every agent until it is detached', () => {
    const all = new AggregateKernelRegistry();
    const registry = new KernelRegistry(one);
    const detach = all.attach(registry);
    const seen: KernelRegistryChange['type'][] = [];
    const unsubscribe = all.onChange(({ type }) => seen.push(type));
    registry.add(kernelOf(one));
    detach();
    registry.add(kernelOf(one));
    all.attach(registry);
    unsubscribe();
    registry.add(kernelOf(one));
    expect(seen).toEqual(['added']);
    expect(all.size).toBe(3);
  });
});

test('a description tells how the container of an ending kernel has ended by itself', () => {
  const kernel = withContainer(kernelOf(one), 'container-a');
  kernel.terminate({ reason: 'self-terminated', exitCode: -9, detail: 'killed by signal 9, out of memory' });
  kernel.terminate({ reason: 'user-requested', exitCode: 0, detail: 'exited with status 0' });
  expect(describeKernel(kernel)).toMatchObject({
    state: 'terminating',
    stateDetail: 'killed by signal 9, out of memory',
    terminationReason: 'self-terminated',
  });
});

test('a description shows a kernel without the secrets of its request', () => {
  const kernel = withContainer(kernelOf(one), 'container-a');
  kernel.terminate({ reason: 'idle-timeout' });
  const description = describeKernel(kernel);
  expect(description).toEqual({
    agentId: 'i-one',
    kernelId: kernel.id,
    sessionId: kernel.sessionId,
    state: 'terminating',
    stateDetail: null,
    sessionType: 'interactive',
    image: 'localhost/test/python:3.11-debian',
    runtimeType: 'python',
    containerId: 'container-a',
    clusterRole: 'main',
    clusterHostname: 'main1',
    createdAtMs: 1_000,
    startedAtMs: null,
    terminationReason: 'idle-timeout',
    resourceSlots: { cpu: '1', mem: '268435456' },
    servicePorts: [],
  });
  expect(JSON.stringify(description)).not.toContain('private');
});
