import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { KernelCreationConfig } from '../../../../src/kernels/requests.js';
import { type ModelRelease, resolveModels } from '../../../../src/kernels/models/resolve.js';
import { FaultyBackend } from '../../../support/faulty-backend.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

const DEFINITION =
  'models:\n  - name: m\n    model_path: /models\n    service:\n      start_command: serve\n      port: 8000\n';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'splenium-models-'));
  await mkdir(join(folder, 'vf'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function inference(
  internalData: Partial<KernelCreationConfig['internalData']> = {},
  config: Partial<KernelCreationConfig> = {},
) {
  const mount = {
    name: 'weights',
    vfid: 'user:1/2',
    vfsubpath: '.',
    hostPath: join(folder, 'vf'),
    kernelPath: '/models',
    permission: 'ro',
    usageMode: 'model',
  } as const;
  return kernelRequest({
    config: {
      sessionType: 'inference',
      mounts: [{ ...mount, name: 'data', usageMode: 'general' }, mount],
      internalData: { ...kernelRequest().config.internalData, ...internalData },
      ...config,
    },
  });
}

function resolve(
  request: ReturnType<typeof inference>,
  release: ModelRelease = '25.17',
  command: readonly string[] = [],
) {
  const backend = new FaultyBackend();
  const images = Object.assign(Object.create(backend.images) as typeof backend.images, {
    command: () => Promise.resolve(command),
  });
  return resolveModels({ images }, request, release);
}

const write = (name: string, text = DEFINITION) => writeFile(join(folder, 'vf', name), text);

test('only inference sessions have models', async () => {
  expect(await resolve(inference({}, { sessionType: 'interactive' }))).toEqual([]);
});

test('an inference session without a model folder is refused, whatever the release', async () => {
  for (const release of ['25.17', '26.9'] as const)
    await expect(resolve(inference({}, { mounts: [] }), release)).rejects.toMatchObject({
      code: 'MODEL_FOLDER_MISSING',
      message: 'At least one model virtual folder must be specified.',
    });
});

describe('for a 25.17 manager', () => {
  test.each(['model-definition.yaml', 'model-definition.yml'])('%s is read', async (name) => {
    await write(name);
    expect(await resolve(inference())).toMatchObject([
      { name: 'm', service: { start_command: 'serve', port: 8000 } },
    ]);
  });

  test('a path of the request replaces the usual names, and may lead down and back', async () => {
    await write('model-definition.yaml', 'models: []');
    await mkdir(join(folder, 'vf', 'deep'));
    await write('deep/own.yaml');
    const modelDefinitionPath = 'deep/../deep/own.yaml';
    expect(await resolve(inference({ modelDefinitionPath }))).toMatchObject([{ name: 'm' }]);
  });

  test('a link inside the folder is followed', async () => {
    await write('v1.yaml');
    await symlink('v1.yaml', join(folder, 'vf', 'model-definition.yaml'));
    expect(await resolve(inference())).toMatchObject([{ name: 'm' }]);
  });

  test.each(['../outside.yaml', '/etc/passwd', 'deep/../../outside.yaml', '..', '.'])(
    'the path %s is refused',
    async (modelDefinitionPath) => {
      await writeFile(join(folder, 'outside.yaml'), DEFINITION);
      await expect(resolve(inference({ modelDefinitionPath }))).rejects.toThrow(
        /leads out of vFolder weights/,
      );
    },
  );

  test('a link that leads out of the folder is refused', async () => {
    await writeFile(join(folder, 'outside.yaml'), DEFINITION);
    await symlink('../outside.yaml', join(folder, 'vf', 'model-definition.yaml'));
    await expect(resolve(inference())).rejects.toThrow(/leads out of vFolder weights/);
  });

  test('a folder without a definition is refused with the names that were looked for', async () => {
    await mkdir(join(folder, 'vf', 'model-definition.yaml'));
    await expect(resolve(inference())).rejects.toMatchObject({
      code: 'MODEL_DEFINITION_MISSING',
      message:
        'Model definition file (model-definition.yaml or model-definition.yml) does not exist under vFolder weights (ID user:1/2)',
    });
  });

  test('a pipe is no definition, and nobody waits for it', async () => {
    await promisify(execFile)('mkfifo', [join(folder, 'vf', 'model-definition.yaml')]);
    await expect(resolve(inference())).rejects.toMatchObject({ code: 'MODEL_DEFINITION_MISSING' });
  });

  test.each([
    ['models: [', /Invalid YAML syntax in model-definition.yaml/],
    ['', /Model definition is empty. Please check model-definition.yaml of vFolder weights/],
    ['models:\n  - name: m\n', /models\.0\.model_path/],
    [
      'models:\n  - name: m\n    model_path: /m\n    service:\n      port: 8000\n',
      /model 'm' of vFolder weights has a service without start_command/,
    ],
    [`# ${'x'.repeat(1 << 20)}`, /has more than 1048576 bytes/],
    [
      `a: &a [x,x,x,x,x,x,x,x,x]\n${['b', 'c', 'd', 'e']
        .map((name, index) => `${name}: &${name} [${`*${'abcd'[index] ?? ''},`.repeat(9)}]`)
        .join('\n')}\nmodels: *e\n`,
      /Invalid YAML syntax/,
    ],
  ])('a definition that cannot be is refused (%#)', async (text, message) => {
    await write('model-definition.yaml', text);
    await expect(resolve(inference())).rejects.toThrow(message);
  });

  test('a variant needs no file, but the command of the image', async () => {
    const request = inference({ runtimeVariant: 'vllm' });
    expect(await resolve(request, '25.17', ['vllm', 'serve'])).toMatchObject([
      { name: 'vllm-model', model_path: '/models', service: { start_command: ['vllm', 'serve'] } },
    ]);
    await expect(resolve(request)).rejects.toThrow(/image should have its own command/);
  });
});

describe('for a 26.x manager', () => {
  const definition = (service: Record<string, unknown>, environ: Record<string, string> = {}) =>
    inference(
      {
        modelDefinition: {
          models: [{ name: 'm', model_path: '/models', service: { port: 8000, ...service } }],
        },
      },
      { environ },
    );
  const commandOf = async (...question: Parameters<typeof resolve>) =>
    (await resolve(...question))[0]?.service?.start_command;

  test('the definition is what the manager sends, and no file is read', async () => {
    await write('model-definition.yaml');
    await expect(resolve(inference(), '26.9')).rejects.toMatchObject({ code: 'MODEL_DEFINITION_MISSING' });
    expect(await resolve(definition({ start_command: 'own' }), '26.9')).toMatchObject([
      { name: 'm', service: { start_command: 'own' } },
    ]);
  });

  test('a health check counts only when it is enabled', async () => {
    const check = async (health_check: unknown) =>
      (await resolve(definition({ start_command: 'x', health_check }), '26.9'))[0]?.service?.health_check
        ?.enable;
    expect(await check({ path: '/' })).toBe(false);
    expect(await check({ path: '/', enable: true })).toBe(true);
  });

  test('a model without a command has the image’s, as one line for the shell', async () => {
    expect(await commandOf(definition({}), '26.9', ['sh', '-c', "it's; on"])).toBe(`sh -c 'it'"'"'s; on'`);
    expect(await commandOf(definition({}), '26.9')).toBeNull();
  });

  test('variables of the servers become options behind the command', async () => {
    const environ = {
      SGLANG_EXTRA_ARGS: '--last "two words" \\$x',
      VLLM_TP_SIZE: '2',
      VLLM_QUANTIZATION: 'fp 8',
      VLLM_PP_SIZE: '',
      VLLM_EXTRA_ARGS: "--a='b c'd",
    };
    expect(await commandOf(definition({ start_command: 'serve' }, environ), '26.9')).toBe(
      `serve --quantization 'fp 8' --tensor-parallel-size 2 '--a=b cd' --last 'two words' '$x'`,
    );
    await expect(
      resolve(definition({ start_command: 'x' }, { VLLM_EXTRA_ARGS: 'a "b' }), '26.9'),
    ).rejects.toThrow(/Malformed quoting in VLLM_EXTRA_ARGS/);
  });
});
