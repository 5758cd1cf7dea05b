import { randomInt } from 'node:crypto';
import { ProcessBackendHarness } from '../support/process-backend.js';
import { bundleRunner } from '../integration/runner/runner-process.js';
import { describeBackendFunctions } from './backend-functions.contract.js';

describe('with the real runner', () => {
  let runner: Awaited<ReturnType<typeof bundleRunner>>;
  beforeAll(async () => {
    runner = await bundleRunner();
  }, 60_000);
  afterAll(() => runner.remove());

  describeBackendFunctions('process', async () => {
    const harness = await ProcessBackendHarness.make({ runnerPath: runner.path });
    return {
      backend: await harness.open(),
      images: null,
      kernelImage: 'local/contract/shell:1',
      firstPort: randomInt(10_000, 17_000),
      [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
    };
  });
});
