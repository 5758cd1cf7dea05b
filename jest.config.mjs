/** One jest project per kind of test, so that `npm run jest -- --selectProjects unit` runs a kind alone. */
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
});

export default {
  projects: [
    ...['unit', 'contract', 'integration', 'interop', 'fault', 'fuzz'].map((name) => project(name)),
    // Part of interop too, where it is skipped: it takes minutes.
    project('manager', 'interop/manager'),
    // Part of contract and integration too, where they are skipped.
    { ...project('docker'), testMatch: ['<rootDir>/tests/{contract,integration}/**/docker*.test.ts'] },
  ],
  // Many tests start processes and wait for them; more workers than this starve each other on a small machine.
  maxWorkers: 2,
  testTimeout: 60_000,
};
