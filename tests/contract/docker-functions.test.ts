import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { buildRunnerVolume } from '../../src/backends/docker/index.js';
import { bundleRunner } from '../integration/runner/runner-process.js';
import { describeWithEngine } from '../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../support/docker-images.js';
import { DockerImagesHarness } from '../support/docker-registry-images.js';
import { bundleEntrypoint } from '../support/entrypoint-bundle.js';
import { describeBackendFunctions } from './backend-functions.contract.js';

await describeWithEngine('on a real engine, with the real runner', (engine) => {
  let volume: string;

  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
    const entrypointPath = await bundleEntrypoint(engine.directory);
    const bundle = await bundleRunner();
    try {
      const root = join(engine.directory, 'volumes');
      volume = (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
    } finally {
      await bundle.remove();
    }
  }, 120_000);

  describeBackendFunctions('docker', async () => {
    const images = await DockerImagesHarness.make({ engine, volume });
    return {
      backend: images.backend,
      images,
      kernelImage: BUSYBOX_IMAGE,
      firstPort: randomInt(10_000, 17_000),
      [Symbol.asyncDispose]: () => images[Symbol.asyncDispose](),
    };
  });
});
