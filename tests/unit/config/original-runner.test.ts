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

const JAIL = '[splenium.docker]\nrunner-package = "/p"\n[container]\nsandbox-type = "jail"\n';
const JAIL_VOLUMES = 'krunner-volumes = { static-gnu = "v" }\n';

test('the jail is a choice where the original’s runner is one, on the machines that it is made for', async () => {
  expect(await problemsOf(`${MINIMAL}${JAIL}${JAIL_VOLUMES}`)).toEqual([]);
  expect((await problemsOf(`${MINIMAL}${JAIL}`)).join('\n')).toContain(
    'not supported by this agent with its own',
  );
  const arm = await problemsOf(`${MINIMAL}${JAIL}${JAIL_VOLUMES}`, { host: { arch: 'aarch64' } });
  expect(arm.join('\n')).toContain('Jail sandbox is not supported on architecture aarch64');
});

test.each([
  ['', 'needs splenium.docker.runner-package'],
  [
    '[splenium.docker]\nrunner-package = "/p"\nhardening = "strict"\n',
    'cannot be with splenium.docker.hardening',
  ],
])('volumes with %j are refused', async (rest, message) => {
  expect((await problemsOf(`${MINIMAL}${VOLUMES}${rest}`)).join('\n')).toContain(message);
});
