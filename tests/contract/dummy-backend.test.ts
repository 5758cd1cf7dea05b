import { DummyBackendHarness } from '../support/dummy-backend.js';
import { DummyImagesHarness } from '../support/dummy-images.js';
import { describeBackendFacts } from './backend-facts.contract.js';
import { describeFilePaths } from './backend-files.contract.js';
import { describeBackendImages } from './backend-images.contract.js';
import { describeBackend } from './backend.contract.js';

describeBackend('dummy', () => DummyBackendHarness.make());
describeBackendFacts('dummy', () => DummyBackendHarness.make());
describeBackendImages('dummy', () => DummyImagesHarness.make());
// Not `describeBackendFiles`: the dummy takes every file and has none.
describeFilePaths('dummy', () => DummyBackendHarness.make());
