import { healthCheckLimits, type Model, parseDefinition } from '../../../../src/kernels/models/definition.js';
import { modelEnvironment, modelPorts } from '../../../../src/kernels/models/needs.js';
import { variantModels } from '../../../../src/kernels/models/variants.js';
import { planServices } from '../../../../src/kernels/lifecycle/service-ports.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

const modelOf = (service: unknown): Model => {
  const [model] = parseDefinition({ models: [{ name: 'm', model_path: '/models', service }] }, 'a test');
  if (!model) throw new Error('no model');
  return model;
};

describe('a definition', () => {
  test('has the usual values where it says nothing', () => {
    expect(modelOf({ start_command: ['serve'], port: 8000, health_check: { path: '/health' } })).toEqual({
      name: 'm',
      model_path: '/models',
      service: {
        pre_start_actions: [],
        start_command: ['serve'],
        shell: '/bin/bash',
        port: 8000,
        health_check: {
          path: '/health',
          interval: 10,
          max_retries: 10,
          max_wait_time: 15,
          expected_status_code: 200,
        },
      },
    });
  });

  test('may leave out what has no service, and say null for what it does not set', () => {
    expect(modelOf(undefined).service).toBeNull();
    expect(
      modelOf({ start_command: 'x', port: '8000', pre_start_actions: null, health_check: null }).service,
    ).toEqual({
      pre_start_actions: [],
      start_command: 'x',
      shell: '/bin/bash',
      port: 8000,
      health_check: null,
    });
  });

  test('may write names with hyphens, but arguments of actions stay as they are', () => {
    const actions = [{ action: 'write_file', args: { 'file-name': 'x' } }];
    expect(modelOf({ 'start-command': 'x', port: 1, 'pre-start-actions': actions }).service).toMatchObject({
      start_command: 'x',
      pre_start_actions: actions,
    });
  });

  test('is what it was after it has been kept as JSON', () => {
    const models = parseDefinition(
      { models: [modelOf({ start_command: 'x', port: 80, health_check: { path: '/', enable: false } })] },
      'a test',
    );
    expect(parseDefinition({ models: JSON.parse(JSON.stringify(models)) as unknown }, 'a journal')).toEqual(
      models,
    );
  });

  test.each([
    [null, /Model definition is empty. Please check f.yaml/],
    ['text', /definition: /],
    [{}, /models: /],
    [{ models: [] }, /the list of models is empty/],
    [{ models: [{ model_path: '/m' }] }, /models\.0\.name/],
    [{ models: [{ name: 'm' }] }, /models\.0\.model_path/],
    [
      { models: [{ name: 'm', model_path: '/m', service: { start_command: 'x' } }] },
      /models\.0\.service\.port/,
    ],
    [
      { models: [{ name: 'm', model_path: '/m', service: { start_command: 'x', port: 0 } }] },
      /service\.port/,
    ],
    [{ models: [{ name: 'm', model_path: '/m', service: { start_command: 7, port: 1 } }] }, /start_command/],
    [
      {
        models: [
          {
            name: 'm',
            model_path: '/m',
            service: { start_command: 'x', port: 1, health_check: { path: '/', expected_status_code: 7 } },
          },
        ],
      },
      /expected_status_code/,
    ],
  ])('%j is refused with the field that is wrong', (value, message) => {
    expect(() => parseDefinition(value, 'f.yaml')).toThrow(message);
  });
});

describe('the runner is waited for', () => {
  test('as long as the health check may take', () => {
    const health_check = { path: '/', max_retries: 3, max_wait_time: 0.5 };
    expect(healthCheckLimits(modelOf({ start_command: 'x', port: 1, health_check }))).toEqual({
      maxRetries: 3,
      maxWaitTimeMs: 500,
    });
  });

  test('without regard to a check that is not enabled', () => {
    const health_check = { path: '/', enable: false };
    expect(healthCheckLimits(modelOf({ start_command: 'x', port: 1, health_check }))).toBeNull();
    expect(healthCheckLimits(modelOf(null))).toBeNull();
  });
});

describe('a variant', () => {
  test.each([
    ['vllm', 'vllm-model', 8000, '/health'],
    ['nim', 'nim-model', 8000, '/v1/health/ready'],
    ['huggingface-tgi', 'tgi-model', 3000, '/info'],
    ['sglang', 'sglang-model', 9001, '/health'],
    ['modular-max', 'max-model', 8000, '/health'],
    ['cmd', 'image-model', 8000, null],
  ])('%s serves one model by the command of the image', (variant, name, port, path) => {
    const [model] = variantModels(variant, { imageCommand: ['run', 'it'], modelPath: '/models' });
    expect(model).toMatchObject({
      name,
      model_path: '/models',
      service: { start_command: ['run', 'it'], port },
    });
    expect(model?.service?.health_check?.path ?? null).toBe(path);
  });

  test.each([
    ['vllm', [], /image should have its own command/],
    ['constructor', ['x'], /no runtime variant 'constructor': it is one of custom, vllm/],
  ])('%s with the command %j is refused', (variant, imageCommand, message) => {
    expect(() => variantModels(variant, { imageCommand, modelPath: '/m' })).toThrow(message);
  });
});

describe('a kernel', () => {
  const two = parseDefinition(
    {
      models: [
        { name: 'a', model_path: '/a', service: { start_command: 'x', port: 8001 } },
        { name: 'b', model_path: '/b' },
      ],
    },
    'a test',
  );

  test('is told the name of the first model, unless it has one, and the path of the last', () => {
    expect(modelEnvironment(two, {})).toEqual({ BACKEND_MODEL_NAME: 'a', BACKEND_MODEL_PATH: '/b' });
    expect(modelEnvironment(two, { BACKEND_MODEL_NAME: 'mine', BACKEND_MODEL_PATH: '/mine' })).toEqual({
      BACKEND_MODEL_NAME: 'mine',
      BACKEND_MODEL_PATH: '/b',
    });
    expect(modelEnvironment([], {})).toEqual({});
  });

  test('has one inference port a model that serves, after all other services', () => {
    expect(
      planServices(kernelRequest({ config: { allocatedHostPorts: [40001] } }).config, modelPorts(two)).at(-1),
    ).toEqual({ name: 'a-8001', protocol: 'preopen', containerPorts: [8001], isInference: true });
  });

  test('that is not the main one of its cluster has none', () => {
    const { config } = kernelRequest({ config: { clusterRole: 'sub' } });
    expect(planServices(config, modelPorts(two)).map(({ name }) => name)).toEqual(['sshd', 'ttyd']);
  });

  test.each([
    [2000, /Port 2000 and 2001 are reserved/],
    [2200, /Port 2200 overlaps with built-in service sshd/],
    [8070, /Port 8070 of service m-8070 overlaps with service jupyter/],
    [70000, /Port 70000 of service m-70000 is not a port number/],
  ])('with a model on port %i is refused', (port, message) => {
    const models = [modelOf({ start_command: 'x', port })];
    expect(() => planServices(kernelRequest().config, modelPorts(models))).toThrow(message);
  });
});
