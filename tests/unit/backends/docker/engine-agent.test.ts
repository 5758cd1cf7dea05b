import { get } from 'node:http';
import { inspect } from 'node:util';
import { EngineAgent } from '../../../../src/backends/docker/engine-agent.js';

test('an agent is described in a word, whatever it holds', async () => {
  const agent = new EngineAgent();
  const request = get({ socketPath: '/nonexistent/docker.sock', agent });
  const failed = new Promise((resolve) => request.on('error', resolve));
  expect(inspect({ agent }, { showHidden: true, depth: null })).toBe('{ agent: EngineAgent }');
  await failed;
  agent.destroy();
});
