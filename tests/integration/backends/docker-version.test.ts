import { join } from 'node:path';
import { buildRunnerVolume } from '../../../src/backends/docker/index.js';
import { DockerBackendHarness } from '../../support/docker-backend.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { EngineProxy } from '../../support/engine-proxy.js';
import { bundleEntrypoint } from '../../support/entrypoint-bundle.js';
import { STUB_RUNNER } from '../../support/stub-runner.js';

await describeWithEngine('the version of the engine', (engine) => {
  let proxy: EngineProxy;
  let harness: DockerBackendHarness;

  beforeAll(async () => {
    proxy = await EngineProxy.start(join(engine.directory, 'old.sock'), engine.socketPath);
    const root = join(engine.directory, 'volumes');
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const volume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
    const backend = { socketPath: proxy.socketPath };
    harness = await DockerBackendHarness.make({ engine, volume, backend });
  }, 120_000);
  beforeEach(() => {
    proxy.heal();
    proxy.calls = [];
  });
  afterAll(async () => {
    await harness[Symbol.asyncDispose]();
    await proxy.stop();
  });

  test('is asked first, and one that is too old is refused before anything else is asked of it', async () => {
    proxy.answer('GET /version', { Version: '18.09.9', ApiVersion: '1.39', MinAPIVersion: '1.12' });
    await expect(harness.open()).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      message: expect.stringMatching(
        /version 18\.09\.9 with API 1\.39 was found, 19\.03 with API 1\.40 or newer is needed/,
      ) as unknown,
    });
    expect(proxy.calls).toEqual(['GET /version']);
  });

  test('that the engine does not tell is no reason to refuse it', async () => {
    proxy.answer('GET /version', { Platform: { Name: 'an engine of its own' } });
    const backend = await harness.open();
    expect(await backend.list((await harness.plan()).agentId)).toEqual([]);
  });
});
