import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { silentLogger } from '../../../../src/core/logger.js';
import { isSelected } from '../../../../src/plugins/selection.js';
import { type BuiltinPlugin, loadDevicePlugins } from '../../../../src/resources/devices/plugins.js';
import { shareOfDevice } from '../../../../src/resources/devices/mock.js';
import { CpuPlugin, MemoryPlugin, MockPlugin } from '../../../../src/resources/index.js';
import { A, createNode, GIB, kernel, recordingLogger, request } from '../test-node.js';

const ROOT = join(import.meta.dirname, '../../../..');
const EXAMPLE = join(ROOT, 'docs/examples/device-plugin');

/** Compiles the example as its author would, against the contract of this tree. Answers what the compiler complains of. */
function buildExample(outDir: string): readonly string[] {
  const program = ts.createProgram([join(EXAMPLE, 'src/index.ts')], {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: [],
    typeRoots: [],
    strict: true,
    skipLibCheck: true,
    noEmitOnError: true,
    outDir,
    rootDir: ROOT,
    paths: { splenium: [join(ROOT, 'src/resources/devices/device-plugin.ts')] },
  });
  const emitted = program.emit();
  return [...ts.getPreEmitDiagnostics(program), ...emitted.diagnostics].map(({ messageText }) =>
    ts.flattenDiagnosticMessageText(messageText, ' '),
  );
}

const builtin: BuiltinPlugin[] = [
  {
    key: 'cuda',
    pythonModule: 'ai.backend.accelerator.cuda_open',
    create: () =>
      Promise.resolve(
        new MockPlugin({
          key: 'cuda',
          slots: [{ slotName: 'cuda.device' }],
          allocation: { kind: 'discrete' },
          devices: [],
        }),
      ),
  },
  { key: 'absent', pythonModule: 'ai.backend.accelerator.absent', create: () => Promise.resolve(undefined) },
  {
    key: 'broken',
    pythonModule: 'ai.backend.accelerator.broken',
    create: () => Promise.reject(new Error('driver does not answer')),
  },
];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-plugins-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function install(name: string, files: Record<string, string>): Promise<void> {
  const at = join(directory, 'node_modules', name);
  await mkdir(at, { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(at, file), text);
}

const load = (more: Partial<Parameters<typeof loadDevicePlugins>[0]> = {}) =>
  loadDevicePlugins({
    allow: null,
    block: [],
    resolveFrom: directory,
    settingsOf: () => Promise.resolve({}),
    logger: silentLogger,
    builtin,
    ...more,
  });

const keys = async (more: Partial<Parameters<typeof loadDevicePlugins>[0]> = {}) =>
  (await load(more)).map(({ key }) => key);

describe('lists', () => {
  test.each<[string, string[] | null, string[], boolean]>([
    ['no list', null, [], true],
    ['empty list', [], [], false],
    ['allowed', ['ai.backend.accelerator.cuda_open'], [], true],
    ['allowed by what is above', ['ai.backend.accelerator'], [], true],
    ['allowed by its key', ['cuda'], [], true],
    ['a longer name is another one', ['ai.backend.accelerator.cuda'], [], false],
    ['blocked', null, ['ai.backend.accelerator.cuda_open'], false],
    ['block wins', ['cuda'], ['ai.backend'], false],
  ])('%s', (_, allow, block, selected) => {
    expect(isSelected(['cuda', 'ai.backend.accelerator.cuda_open'], { allow, block })).toBe(selected);
  });

  test('one name in both is refused', async () => {
    await expect(load({ allow: ['cuda', 'x'], block: ['cuda'] })).rejects.toThrow(
      "allowlist and blocklist has union value '{'cuda'}'",
    );
  });
});

test('what fails or has nothing to do is left out', async () => {
  const logger = recordingLogger();
  expect(await keys({ logger })).toEqual(['cuda']);
  expect(logger.lines).toContainEqual({
    level: 'error',
    message: 'device plugin left out',
    fields: { plugin: 'broken', error: 'driver does not answer' },
  });
});

test('modules of the original that have no counterpart are told', async () => {
  const logger = recordingLogger();
  expect(await keys({ allow: ['ai.backend.accelerator.rocm', 'cuda'], logger })).toEqual(['cuda']);
  expect(logger.lines[0]).toMatchObject({
    level: 'warn',
    fields: { plugins: ['ai.backend.accelerator.rocm'] },
  });
});

describe('packages', () => {
  const text = `export default { apiVersion: 1, create: async ({ settings }) => ({
    key: 'npu', allocation: { kind: 'discrete' },
    slots: () => [{ slotName: 'npu.device', slotType: 'count' }],
    discover: async () => [], describe: () => ({ version: settings.version, facts: {} }),
  }) };`;
  const manifest = (more = {}) =>
    JSON.stringify({ name: 'x', version: '1.0.0', type: 'module', main: 'index.mjs', ...more });

  test('named by the allow list, with settings of its own', async () => {
    await install('@acme/splenium-plugin-npu', { 'package.json': manifest(), 'index.mjs': text });
    const asked: string[] = [];
    const [plugin] = await load({
      allow: ['@acme/splenium-plugin-npu'],
      settingsOf: (key) => {
        asked.push(key);
        return Promise.resolve({ version: '7' });
      },
    });
    expect(plugin?.describe?.().version).toBe('7');
    expect(asked).toEqual(['npu']);
  });

  test('CommonJS too; and the block list holds', async () => {
    const common = text.replace('export default', 'module.exports =');
    await install('npu-plugin', {
      'package.json': manifest({ type: 'commonjs', main: 'index.cjs' }),
      'index.cjs': common,
    });
    expect(await keys({ allow: ['npu-plugin'] })).toEqual(['npu']);
    expect(await keys({ packages: ['npu-plugin'] })).toEqual(['cuda', 'npu']);
    expect(await keys({ packages: ['npu-plugin'], block: ['npu-plugin'] })).toEqual(['cuda']);
    expect(await keys({ packages: ['npu-plugin'], allow: [] })).toEqual([]);
  });

  test.each<[string, string, string]>([
    ['is absent', 'absent-plugin', 'absent-plugin'],
    ['is a path', '../evil', 'not a package name'],
    ['exports something else', 'odd-plugin', 'not a device plugin factory'],
    ['cannot be read', 'bad-plugin', 'is not defined'],
  ])('one that %s is left out', async (_, name, message) => {
    await install('odd-plugin', {
      'package.json': manifest(),
      'index.mjs': 'export default { apiVersion: 2 };',
    });
    await install('bad-plugin', { 'package.json': manifest(), 'index.mjs': 'nothing.at.all;' });
    const logger = recordingLogger();
    expect(await keys({ packages: [name], logger })).toEqual(['cuda']);
    const line = logger.lines.find(({ fields }) => fields['plugin'] === name);
    expect(String(line?.fields['error'])).toContain(message);
  });
});

test('the example of the guide is built, loaded and gives out its devices', async () => {
  const at = join(directory, 'node_modules/splenium-plugin-license');
  const built = join(directory, 'built');
  expect(buildExample(built)).toEqual([]);
  await mkdir(join(at, 'dist'), { recursive: true });
  await cp(join(EXAMPLE, 'package.json'), join(at, 'package.json'));
  await cp(join(built, 'docs/examples/device-plugin/src/index.js'), join(at, 'dist/index.js'));
  const plugins = await load({
    allow: ['splenium-plugin-license'],
    settingsOf: (key) => Promise.resolve(key === 'license' ? { seats: 'solver:2,mesher:1' } : {}),
  });
  const node = await createNode([A], {
    plugins: [...plugins, new CpuPlugin({ fixedCores: 4 }), new MemoryPlugin({ fixedBytes: 4n * GIB })],
  });
  const agent = node.forAgent(A);
  expect(agent.availableSlots()['license.seat']).toBe('3');
  const allocation = agent.allocate(kernel(1), request({ 'license.seat': '2' }));
  expect(agent.environment(allocation)['LICENSE_SEATS']).toBe('solver=1,mesher=1');
  expect(agent.attachedDevices(allocation)['license']).toHaveLength(2);
  expect(await node.hardwareInfo()).toMatchObject({ license: { status: 'healthy' } });
  node.checkInvariants();
});

test('a device in shares', () => {
  const unit = { memoryBytes: 2n * GIB, processingUnits: 8 };
  expect(shareOfDevice({ memoryBytes: 40n * GIB, processingUnits: 108 }, unit)).toBe('13.5');
  expect(shareOfDevice({ memoryBytes: 5n * GIB, processingUnits: 1000 }, unit)).toBe('2.5');
});
