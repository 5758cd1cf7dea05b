import { DummyBackendHarness } from '../support/dummy-backend.js';
import { describeBackendFacts } from './backend-facts.contract.js';
import { describeBackend } from './backend.contract.js';

// Not `describeBackendFiles`: the dummy takes every file and has none.
describeBackend('dummy', () => DummyBackendHarness.make());
describeBackendFacts('dummy', () => DummyBackendHarness.make());
