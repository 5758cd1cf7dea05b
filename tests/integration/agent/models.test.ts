import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseKernelId } from '../../../src/core/ids.js';
import { jsonPayload, REQUEST, RESPONSE } from '../../../src/kernel-runner/messages.js';
import type { KernelCreationConfig } from '../../../src/kernels/requests.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { freePort } from '../../support/free-port.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ProcessBackendHarness } from '../../support/process-backend.js';
import { bundleRunner } from '../runner/runner-process.js';
import { AgentBench, type AgentBenchOptions, NEVER } from './agent-bench.js';

const SERVICE = { start_command: 'serve', port: 8000, health_check: { path: '/health' } };
const STARTED = jsonPayload({ status: 'started' });
const FAILED = jsonPayload({ status: 'failed', error: 'service failed to start' });

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-models-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A kernel of an inference session; its definition is in its folder and in the request. */
async function inference(
  service: Readonly<Record<string, unknown>> = SERVICE,
  config: Partial<KernelCreationConfig> = {},
) {
  const definition = { models: [{ name: 'm', model_path: directory, service }] };
  await mkdir(join(directory, 'vf'), { recursive: true });
  // JSON is YAML.
  await writeFile(join(directory, 'vf', 'model-definition.yaml'), JSON.stringify(definition));
  return kernelRequest({
    kernelId: parseKernelId(randomUUID()),
    config: {
      sessionType: 'inference',
      mounts: [
        {
          name: 'weights',
          vfid: 'user:1/2',
          vfsubpath: '.',
          hostPath: join(directory, 'vf'),
          kernelPath: '/home/work/weights',
          permission: 'rw',
          usageMode: 'model',
        },
      ],
      internalData: { ...kernelRequest().config.internalData, modelDefinition: definition },
      ...config,
    },
  });
}

describe('the models of an inference session, with a runner that answers as told,', () => {
  let runners: FakeRunners;
  let backend: FaultyBackend;
  let bench: AgentBench;
  const start = async (options: AgentBenchOptions = {}) => {
    bench = await AgentBench.start(backend, options);
    return bench.agent;
  };
  beforeEach(() => {
    runners = new FakeRunners();
    backend = new FaultyBackend();
    backend.endpointsOf = runners.endpointsOf;
  });
  afterEach(async () => {
    await bench.stop();
    await bench.remove();
    await runners[Symbol.asyncDispose]();
  });
  const names = () => bench.events.names;
  const unhealthy = () => names().filter((name) => name === 'model_service_status_updated');

  test('are started when the kernel runs, which has a port and variables for them', async () => {
    const agent = await start();
    const request = await inference();
    const [result] = await agent.createKernels([request], NEVER);
    const runner = runners.of(request.kernelId);
    await runner.heard(REQUEST.startModelService);
    const sent = runner.received.find(({ type }) => type === REQUEST.startModelService);
    expect(JSON.parse(Buffer.from(sent?.payload ?? []).toString())).toEqual({
      name: 'm',
      model_path: directory,
      service: {
        pre_start_actions: [],
        shell: '/bin/bash',
        start_command: 'serve',
        port: 8000,
        health_check: {
          path: '/health',
          interval: 10,
          max_retries: 10,
          max_wait_time: 15,
          expected_status_code: 200,
          enable: true,
        },
      },
      metadata: null,
    });
    expect(result?.servicePorts.at(-1)).toEqual({
      name: 'm-8000',
      protocol: 'preopen',
      containerPorts: [8000],
      hostPorts: [expect.any(Number)],
      isInference: true,
    });
    const [container] = backend.containersOf(request.kernelId);
    expect(container?.plan.environment).toMatchObject({
      BACKEND_MODEL_NAME: 'm',
      BACKEND_MODEL_PATH: directory,
    });
    runner.send(RESPONSE.modelServiceResult, STARTED);
    await eventually(() => {
      expect(agent.kernels.get(request.kernelId).facts.modelsAnswered).toBe(true);
    });
    expect(unhealthy()).toEqual([]);
  });

  test('that do not start make the session unhealthy for a 25.17 manager, and the kernel goes on', async () => {
    const agent = await start();
    const request = await inference();
    await agent.createKernels([request], NEVER);
    const runner = runners.of(request.kernelId);
    await runner.heard(REQUEST.startModelService);
    runner.send(RESPONSE.modelServiceResult, FAILED);
    await eventually(() => {
      expect(bench.events.published.at(-1)?.event).toEqual({
        name: 'model_service_status_updated',
        sessionId: request.sessionId,
        status: 'unhealthy',
      });
    });
    expect(names().indexOf('kernel_started')).toBeLessThan(names().indexOf('model_service_status_updated'));
    expect(agent.isRunning(request.kernelId)).toBe(true);
  });

  test('that do not start end the kernel as failed to start with 26.x', async () => {
    const agent = await start({ settings: { managerVersion: '26.9' } });
    const request = await inference();
    await agent.createKernels([request], NEVER);
    const runner = runners.of(request.kernelId);
    await runner.heard(REQUEST.startModelService);
    runner.send(RESPONSE.modelServiceResult, FAILED);
    await eventually(() => {
      expect(bench.events.published.at(-1)?.event).toMatchObject({
        name: 'kernel_terminated',
        reason: 'failed-to-start',
      });
    });
    expect(unhealthy()).toEqual([]);
    await eventually(() => {
      expect(agent.kernels.find(request.kernelId)).toBeUndefined();
    });
    expect(backend.containersOf(request.kernelId)).toEqual([]);
  });

  test('are asked of the main kernel of a cluster only', async () => {
    const agent = await start();
    const main = await inference();
    const sub = await inference(SERVICE, { clusterRole: 'sub' });
    await agent.createKernels([sub], NEVER);
    await agent.createKernels([main], NEVER);
    await runners.of(main.kernelId).heard(REQUEST.startModelService);
    expect(runners.of(sub.kernelId).received).toEqual([]);
  });

  test('are started again by a restart', async () => {
    const agent = await start();
    const request = await inference();
    const { kernelId, sessionId, imageRef } = request;
    await agent.createKernels([request], NEVER);
    await runners.of(kernelId).heard(REQUEST.startModelService);
    // Never answered: the restart takes the runner away, which is no failure of the model.
    await agent.restartKernel({ kernelId, sessionId, imageRef, updatedConfig: {} }, NEVER);
    const next = runners.of(kernelId);
    await next.heard(REQUEST.startModelService);
    next.send(RESPONSE.modelServiceResult, STARTED);
    await eventually(() => {
      expect(agent.kernels.get(kernelId).facts.modelsAnswered).toBe(true);
    });
    expect(unhealthy()).toEqual([]);
  });

  test('whose answer an earlier run of the daemon has not heard are asked for again, others are not', async () => {
    const first = await start();
    const heard = await inference();
    const unheard = await inference();
    await first.createKernels([heard], NEVER);
    await runners.of(heard.kernelId).heard(REQUEST.startModelService);
    runners.of(heard.kernelId).send(RESPONSE.modelServiceResult, STARTED);
    await eventually(() => {
      expect(first.kernels.get(heard.kernelId).facts.modelsAnswered).toBe(true);
    });
    await first.createKernels([unheard], NEVER);
    await runners.of(unheard.kernelId).heard(REQUEST.startModelService);
    const { directory: kept } = bench;
    await bench.stop();
    expect(unhealthy()).toEqual([]);

    const second = await start({ directory: kept });
    await runners.of(unheard.kernelId).heard(REQUEST.startModelService, 2);
    runners.of(unheard.kernelId).send(RESPONSE.modelServiceResult, jsonPayload({ status: 'running' }));
    await eventually(() => {
      expect(second.kernels.get(unheard.kernelId).facts.modelsAnswered).toBe(true);
    });
    expect(runners.of(heard.kernelId).received).toHaveLength(1);
  });

  test('are nobody’s failure when the kernel is ended meanwhile', async () => {
    const agent = await start();
    const request = await inference();
    const { kernelId, sessionId } = request;
    await agent.createKernels([request], NEVER);
    await runners.of(kernelId).heard(REQUEST.startModelService);
    await agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
    expect(names().slice(-1)).toEqual(['kernel_terminated']);
    expect(unhealthy()).toEqual([]);
  });

  test('without a definition fail the creation, which leaves nothing', async () => {
    const agent = await start();
    const request = await inference();
    await rm(join(directory, 'vf', 'model-definition.yaml'));
    await expect(agent.createKernels([request], NEVER)).rejects.toMatchObject({
      code: 'MODEL_DEFINITION_MISSING',
      pythonName: 'AgentError',
    });
    expect(agent.kernels.find(request.kernelId)).toBeUndefined();
    expect(bench.events.published.at(-1)?.event).toMatchObject({
      name: 'kernel_terminated',
      reason: 'failed-to-create',
    });
  });
});

describe('a model server in a real kernel', () => {
  let bundle: Awaited<ReturnType<typeof bundleRunner>>;
  let harness: ProcessBackendHarness;
  let bench: AgentBench;
  beforeAll(async () => {
    bundle = await bundleRunner();
    harness = await ProcessBackendHarness.make({ runnerPath: bundle.path });
    bench = await AgentBench.start(await harness.open(), {
      resources: { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] },
    });
  }, 90_000);
  afterEach(async () => {
    await bench.agent.reset(NEVER);
  });
  afterAll(async () => {
    await bench.stop();
    await bench.remove();
    await harness[Symbol.asyncDispose]();
    await bundle.remove();
  }, 90_000);

  test('serves, and goes with its kernel', async () => {
    const port = await freePort();
    const request = await inference({
      start_command: ['python3', '-m', 'http.server', '--bind', '127.0.0.1', '{ports[0]}'],
      port,
      health_check: { path: '/answer.txt', interval: 1 },
    });
    await writeFile(join(directory, 'answer.txt'), 'served');
    await bench.agent.createKernels([request], NEVER);
    const ask = async () => (await fetch(`http://127.0.0.1:${String(port)}/answer.txt`)).text();
    await eventually(async () => {
      expect(await ask()).toBe('served');
    });
    await eventually(() => {
      expect(bench.agent.kernels.get(request.kernelId).facts.modelsAnswered).toBe(true);
    });
    const { kernelId, sessionId } = request;
    await bench.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
    await expect(ask()).rejects.toThrow();
    expect(bench.events.names).not.toContain('model_service_status_updated');
  });

  test('that cannot be started is told to the manager', async () => {
    const request = await inference({ start_command: ['/no/such/program'], port: await freePort() });
    await bench.agent.createKernels([request], NEVER);
    await eventually(() => {
      expect(bench.events.published.map(({ event }) => event)).toContainEqual({
        name: 'model_service_status_updated',
        sessionId: request.sessionId,
        status: 'unhealthy',
      });
    });
  });
});
