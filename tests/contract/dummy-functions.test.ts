import { randomInt } from 'node:crypto';
import { DummyImagesHarness } from '../support/dummy-images.js';
import { describeBackendFunctions } from './backend-functions.contract.js';

describeBackendFunctions('dummy', async () => {
  const images = await DummyImagesHarness.make();
  return {
    backend: images.backend,
    images,
    kernelImage: 'dummy/contract/kernel:1',
    firstPort: randomInt(10_000, 17_000),
    [Symbol.asyncDispose]: () => images[Symbol.asyncDispose](),
  };
});
