import { ProcessBackendHarness } from '../support/process-backend.js';
import { describeBackendFiles } from './backend-files.contract.js';
import { describeBackendFacts } from './backend-facts.contract.js';
import { describeNoImages } from './backend-images.contract.js';
import { describeBackend } from './backend.contract.js';

describeBackend('process', () => ProcessBackendHarness.make());
describeBackendFiles('process', () => ProcessBackendHarness.make());
describeBackendFacts('process', () => ProcessBackendHarness.make());
describeNoImages('process', () => ProcessBackendHarness.make());
