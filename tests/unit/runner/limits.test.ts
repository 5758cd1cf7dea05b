import { PORT_LIMIT_MS } from '../../../src/kernel-runner/services/service-board.js';
import { DEFAULT_LIMITS } from '../../../src/runner/limits.js';

test('the agent waits for a service longer than the runner waits for its port (L13)', () => {
  expect(DEFAULT_LIMITS.serviceTimeoutMs).toBeGreaterThan(PORT_LIMIT_MS);
});
