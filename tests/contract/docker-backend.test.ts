import { buildRunnerVolume } from '../../src/backends/docker/index.js';
import { DockerBackendHarness } from '../support/docker-backend.js';
import { DockerImagesHarness } from '../support/docker-registry-images.js';
import { describeWithEngine } from '../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../support/docker-images.js';
import { bundleEntrypoint } from '../support/entrypoint-bundle.js';
import { STUB_RUNNER } from '../support/stub-runner.js';
import { describeBackendFiles } from './backend-files.contract.js';
import { describeBackendFacts } from './backend-facts.contract.js';
import { describeBackendImages } from './backend-images.contract.js';
import { describeBackend } from './backend.contract.js';

await describeWithEngine('on a real engine', (engine) => {
  let volume: string;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const root = `${engine.directory}/volumes`;
    volume = (await buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath })).directory;
  }, 120_000);

  describeBackend('docker', () => DockerBackendHarness.make({ engine, volume }));
  describeBackendFacts('docker', () => DockerBackendHarness.make({ engine, volume }));
  describeBackendImages('docker', () => DockerImagesHarness.make({ engine, volume }));
  describeBackendFiles('docker', () => DockerBackendHarness.make({ engine, volume }));
});
