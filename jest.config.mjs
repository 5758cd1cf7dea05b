// One jest project per kind of test, so that `npm run jest -- --selectProjects unit` runs a kind alone.

/** Files whose name begins with `docker` need an engine of their own and are a project of their own, units excepted. */
const ENGINE_TESTS = '/tests/(?!unit/).*/docker[^/]*\\.test\\.ts$';

const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
};
const project = (name, folder = name) => ({
  ...common,
  displayName: name,
  testMatch: [`<rootDir>/tests/${folder}/**/*.test.ts`],
  testPathIgnorePatterns: [
    '/node_modules/',
    ENGINE_TESTS,
    ...(name === 'interop' ? ['/interop/manager/'] : []),
  ],
});

export default {
  projects: [
    ...['unit', 'contract', 'integration', 'interop', 'fault', 'fuzz'].map((name) => project(name)),
    project('manager', 'interop/manager'),
    {
      ...common,
      displayName: 'docker',
      testMatch: ['<rootDir>/tests/**/docker*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '/tests/unit/'],
    },
  ],
  // Many tests start processes and wait for them; more workers than this starve each other on a small machine.
  maxWorkers: 2,
  testTimeout: 60_000,
};
