import { loadIn, MINIMAL, problemsOf, withDirectory } from './config-file.js';

const VOLUMES = '[container.krunner-volumes]\nstatic-gnu = "backendai-krunner.v9.x86_64.static-gnu"\n';

test('volumes and package together choose the original’s runner', () =>
  withDirectory(async (directory) => {
    const { config } = await loadIn(
      directory,
      `${MINIMAL}${VOLUMES}[splenium.docker]\nrunner-package = "packages/runner"\n`,
    );
    expect(config.docker.runnerPackage).toBe(`${directory}/packages/runner`);
    expect(config.agents[0]?.krunnerVolumes).toEqual({
      'static-gnu': 'backendai-krunner.v9.x86_64.static-gnu',
    });
  }));

test.each([
  ['', 'needs splenium.docker.runner-package'],
  [
    '[splenium.docker]\nrunner-package = "/p"\nhardening = "strict"\n',
    'cannot be with splenium.docker.hardening',
  ],
])('volumes with %j are refused', async (rest, message) => {
  expect((await problemsOf(`${MINIMAL}${VOLUMES}${rest}`)).join('\n')).toContain(message);
});
