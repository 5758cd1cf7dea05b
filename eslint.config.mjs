// Lint: types, promises, import cycles, and the two tables that keep the house in order.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, globalIgnores } from 'eslint/config';
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import { importX } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const root = fileURLToPath(new URL('.', import.meta.url));

/** The shapes of requests, and the backend contract: types that several layers speak in. */
const REQUESTS = 'kernels/requests.ts';
const BACKEND = 'backends/backend.ts';

/**
 * Who may import whom: a folder or file of src -> the folders and files it may import besides its own. Everything
 * under src has exactly one row; nothing may import main.ts, daemon or index.ts without a row saying so.
 */
export const LAYERS = {
  core: [],
  disk: ['core'],
  callosum: ['core'],
  codec: ['core'],
  config: ['core', 'disk', 'callosum/peer-options.ts'],
  observe: ['core', 'disk'],
  stores: ['core', 'disk'],
  plugins: ['core'],
  resources: ['core', 'plugins'],
  stats: ['core', 'resources', BACKEND],
  events: ['core', 'disk', 'codec', REQUESTS],
  [BACKEND]: ['core', REQUESTS],
  'backends/files': ['core', BACKEND],
  'backends/images': ['core', BACKEND],
  'backends/docker': ['core', BACKEND, 'backends/files', 'backends/images', REQUESTS],
  'backends/process': ['core', 'disk', BACKEND, 'backends/files', REQUESTS],
  'backends/dummy': ['core', 'disk', BACKEND, 'backends/files', 'backends/images', REQUESTS],
  kernels: ['core', 'disk', BACKEND, 'events', 'plugins'],
  metadata: ['core', BACKEND, 'kernels', 'plugins'],
  'agent-socket': ['core', 'disk'],
  'kernel-runner': [],
  runner: ['core', 'kernel-runner/messages.ts'],
  agent: ['core', 'disk', BACKEND, 'events', 'kernels', 'resources', 'runner'],
  runtime: ['core', 'disk', 'agent', 'kernels'],
  rpc: ['core', 'callosum', 'codec', 'runtime', 'agent', REQUESTS],
  client: ['core', 'callosum', 'codec', 'rpc', REQUESTS, 'runtime/state-layout.ts'],
  cli: [
    'core',
    'client',
    'config',
    'observe',
    'runtime',
    'callosum/transport/keys.ts',
    'callosum/transport/certificates.ts',
  ],
  daemon: '*',
  'index.ts': '*',
  'main.ts': ['core', 'cli', 'daemon/run.ts'],
};

/** Rows with '*' import everything but these. */
const TOP = ['cli', 'main.ts'];

/** Third-party packages and the only places of src that may import them. A package without a row is free. */
export const CONFINED = {
  zeromq: ['callosum/transport', 'runner', 'kernel-runner', 'agent-socket/agent-socket.ts'],
  tweetnacl: ['callosum/transport/keys.ts'],
  snappyjs: ['callosum/wire'],
  msgpackr: ['callosum/wire', 'runner', 'kernel-runner'],
  convict: ['config'],
  'smol-toml': ['config'],
  'toml-eslint-parser': ['config'],
  dockerode: ['backends/docker'],
  'tar-stream': ['backends'],
  etcd3: ['stores'],
  ioredis: ['stores'],
  redis: ['stores'],
  iovalkey: ['stores'],
  pino: ['observe'],
  'prom-client': ['observe'],
  commander: ['cli'],
};

const isFile = (place) => place.endsWith('.ts');
const covers = (place, other) => other === place || other.startsWith(`${place}/`);
const filesOf = (src, place) => `${src}/${place}${isFile(place) ? '' : '/**/*.ts'}`;

/** Every folder and file of src needs a row, so that a new room cannot appear without a word on its neighbours. */
function checkEveryPlaceHasRow(src) {
  if (!existsSync(join(root, src))) return;
  const rows = Object.keys(LAYERS);
  const known = (place) => rows.some((row) => covers(row, place));
  const visit = (folder) => {
    for (const entry of readdirSync(join(root, src, folder), { withFileTypes: true })) {
      const place = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (known(place)) continue;
      if (entry.isDirectory() && rows.some((row) => covers(place, row))) visit(place);
      else
        throw new Error(`${src}/${place} has no row in LAYERS of eslint.config.mjs: say what it may import`);
    }
  };
  visit('');
}

/** One zone a row. `except` names what may be imported, the row's own folder included. */
function layerRule(src) {
  const all = Object.keys(LAYERS);
  const zones = Object.entries(LAYERS).map(([row, allowed]) => {
    const except = allowed === '*' ? all.filter((other) => !TOP.includes(other)) : [...allowed, row];
    const words = allowed === '*' ? `everything but ${TOP.join(' and ')}` : allowed.join(', ') || 'nothing';
    return {
      target: `./${src}/${row}`,
      from: `./${src}`,
      except: except.map((place) => `./${place}`),
      message: `${row} may import ${words} (LAYERS in eslint.config.mjs).`,
    };
  });
  return ['error', { basePath: root, zones }];
}

const restrictedSyntax = (packages) => [
  'error',
  ...packages.map((name) => ({
    selector: `ImportExpression > Literal[value=/^${name}(\\u002F|$)/]`,
    message: confinement(name),
  })),
];
const confinement = (name) =>
  `only ${CONFINED[name].map((place) => `src/${place}`).join(', ')} may import ${name} (CONFINED in eslint.config.mjs).`;

/** src as a whole, then each place that some package is confined to, deeper places later so that they win. */
function confinementBlocks(src) {
  const places = [...new Set(Object.values(CONFINED).flat())].sort((a, b) => a.length - b.length);
  return ['', ...places].map((place) => {
    const banned = Object.keys(CONFINED).filter(
      (name) => place === '' || !CONFINED[name].some((home) => covers(home, place)),
    );
    return {
      files: [place === '' ? `${src}/**/*.ts` : filesOf(src, place)],
      rules: {
        'no-restricted-imports': [
          'error',
          {
            paths: banned.map((name) => ({ name, message: confinement(name) })),
            patterns: banned.map((name) => ({ group: [`${name}/*`], message: confinement(name) })),
          },
        ],
        'no-restricted-syntax': restrictedSyntax(banned),
      },
    };
  });
}

/** The rules of the two tables for one tree of sources. */
function house(src) {
  checkEveryPlaceHasRow(src);
  return [
    { files: [`${src}/**/*.ts`], rules: { 'import-x/no-restricted-paths': layerRule(src) } },
    ...confinementBlocks(src),
  ];
}

const FIXTURE = 'tests/fixtures/lint';

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', 'docs/', `${FIXTURE}/`]),
  {
    files: ['**/*.ts', '**/*.mjs'],
    plugins: { 'import-x': importX },
    settings: {
      'import-x/resolver-next': [createTypeScriptImportResolver({ project: 'tsconfig.test.json' })],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  {
    files: ['**/*.ts'],
    ignores: [`${FIXTURE}/**`],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: 'tsconfig.test.json', tsconfigRootDir: root } },
    rules: {
      'import-x/no-cycle': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      // deferred<void>() is how a gate without a value is written.
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    files: ['tests/**/*.ts'],
    rules: {
      // Jest's matchers, expect.any() and the like, and tables of test.each are typed any.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      // readVectors<Shape>() names the shape of a golden file of this repository.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
    },
  },
  { files: ['src/**/*.ts'], rules: { 'no-console': 'error' } },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/main.ts', 'src/kernel-runner/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'exit', message: 'only src/main.ts ends the process.' },
      ],
    },
  },
  {
    files: ['src/core/**/*.ts'],
    rules: { 'import-x/no-nodejs-modules': 'error' },
  },
  house('src'),
  { files: ['**/*.mjs'], extends: [tseslint.configs.recommended] },
  // A small tree with a good file and a bad one; tests/unit/layers.test.ts lints it with --no-ignore.
  { files: [`${FIXTURE}/**/*.ts`], languageOptions: { parser: tseslint.parser } },
  house(`${FIXTURE}/src`),
);
