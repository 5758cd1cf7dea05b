/** One jest project per kind of test, so that `npm run jest -- --selectProjects unit` runs a kind alone. */
const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
};
const project = (name) => ({
  ...common,
  displayName: name,
  testMatch: [`<rootDir>/tests/${name}/**/*.test.ts`],
});

export default {
  projects: ['unit', 'contract', 'integration', 'interop', 'fault'].map(project),
  testTimeout: 30_000,
};
