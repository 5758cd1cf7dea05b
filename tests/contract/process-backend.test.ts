import { ProcessBackendHarness } from '../support/process-backend.js';
import { describeBackend } from './backend.contract.js';

describeBackend('process', () => ProcessBackendHarness.make());
