import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { busyboxRequest, EngineBench, runnerVolumeOf } from '../../support/engine-bench.js';
import { eventually } from '../../support/eventually.js';
import { NEVER } from '../agent/agent-bench.js';

const PATIENT = { timeoutMs: 50_000 };
/** Serves the folder of the model, of what a kernel with nothing but busybox has. */
const SERVER = ['busybox', 'httpd', '-f', '-p', '{ports[0]}', '-h', '/models'];

await describeWithEngine('an inference session on a real engine', (engine) => {
  let volume: string;
  let folder: string;
  let on: EngineBench;
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    volume = await runnerVolumeOf(engine);
  }, 120_000);
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'splenium-model-'));
  });
  afterEach(async () => {
    await on.stop();
    await rm(folder, { recursive: true, force: true });
  }, 120_000);

  const open = async (managerVersion: '25.17' | '26.9' = '25.17') => {
    on = await EngineBench.start(engine, volume, { settings: { managerVersion } });
  };
  /** The definition lies in a mounted folder, where the agent reads it. */
  const inference = async (service: Readonly<Record<string, unknown>>): Promise<KernelCreationRequest> => {
    const models = [
      {
        name: 'm',
        model_path: '/models',
        service: {
          start_command: SERVER,
          port: 8000,
          health_check: { path: '/health', interval: 1 },
          ...service,
        },
      },
    ];
    await mkdir(join(folder, 'weights'), { recursive: true });
    // JSON is YAML.
    await writeFile(join(folder, 'weights', 'model-definition.yaml'), JSON.stringify({ models }));
    await writeFile(join(folder, 'weights', 'health'), 'well');
    return busyboxRequest({
      config: {
        sessionType: 'inference',
        mounts: [
          {
            name: 'weights',
            vfid: 'user:1/2',
            vfsubpath: '.',
            hostPath: join(folder, 'weights'),
            kernelPath: '/models',
            permission: 'ro',
            usageMode: 'model',
          },
        ],
        internalData: { ...busyboxRequest().config.internalData, modelDefinition: { models } },
      },
    });
  };
  const unhealthy = () => on.bench.events.named('model_service_status_updated');

  test('serves its model at a host port once the kernel runs, is well, and ends with its port', async () => {
    await open();
    const request = await inference({});
    const { servicePorts } = await on.create(request);
    const service = servicePorts.find(({ isInference }) => isInference);
    expect(service).toMatchObject({ name: 'm-8000', protocol: 'preopen', containerPorts: [8000] });
    const address = `http://127.0.0.1:${String(service?.hostPorts[0])}/health`;
    // The engine takes connections before the model does, and keeps them.
    const ask = async () => (await fetch(address, { signal: AbortSignal.timeout(5000) })).text();
    await eventually(async () => {
      expect(await ask()).toBe('well');
      expect(on.agent.kernels.get(request.kernelId).facts.modelsAnswered).toBe(true);
    }, PATIENT);
    expect(await on.exec(request, 'cat', '/models/health')).toBe('well');
    expect((await on.inspect(request)).Config.Env).toContain('BACKEND_MODEL_NAME=m');
    // As a manager does for each service; the model is what listens there.
    expect(await on.agent.startService(request.kernelId, 'm-8000', {}, NEVER)).toMatchObject({
      status: expect.stringMatching(/^(started|running)$/) as unknown,
    });
    expect(unhealthy()).toEqual([]);
    await on.destroy(request);
    await expect(ask()).rejects.toThrow();
  }, 120_000);

  test('whose program is not there is unhealthy for a 25.17 manager, and its kernel goes on', async () => {
    await open();
    const request = await inference({ start_command: ['/no/such/program'] });
    await on.create(request);
    await eventually(() => {
      expect(unhealthy()).toEqual([
        { name: 'model_service_status_updated', sessionId: request.sessionId, status: 'unhealthy' },
      ]);
    }, PATIENT);
    expect(on.agent.isRunning(request.kernelId)).toBe(true);
    expect((await on.inspect(request)).State.Running).toBe(true);
  }, 120_000);

  test('that does not start ends its kernel with a 26.x manager, and nothing is left', async () => {
    await open('26.9');
    const request = await inference({ start_command: ['/no/such/program'] });
    await on.create(request);
    await eventually(() => {
      expect(on.bench.events.named('kernel_terminated')).toMatchObject([
        { kernelId: request.kernelId, reason: 'failed-to-start' },
      ]);
    }, PATIENT);
    expect(unhealthy()).toEqual([]);
  }, 120_000);
});
