import { archiveFor } from '../../../../src/backends/docker/krunner-volumes.js';

const archive = { path: '/pkg/krunner/env.tar.xz', version: '14' };
const runnerPackage = { directory: '/pkg/runner', archives: { 'static-gnu': archive } };

test.each(['backendai-krunner.v14.x86_64.static-gnu', 'a-name-of-my-own'])(
  'volume %s is filled from the installed package',
  (volume) => {
    expect(archiveFor(runnerPackage, 'static-gnu', volume)).toEqual(archive);
  },
);

test('a name with another version is refused, with the name that would do', () => {
  expect(() => archiveFor(runnerPackage, 'static-gnu', 'backendai-krunner.v9.x86_64.static-gnu')).toThrow(
    /version 14: name it backendai-krunner\.v14\.x86_64\.static-gnu/,
  );
});

test('without a package the error says which to install and where', () => {
  expect(() => archiveFor(runnerPackage, 'alpine3.8', 'v')).toThrow(
    /beside \/pkg\/runner to fill it from: install backend\.ai-krunner-alpine \(pip install\)/,
  );
});
