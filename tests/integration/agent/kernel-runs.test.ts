import { kernelRequest } from '../../support/kernel-requests.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { AgentBench, NEVER } from './agent-bench.js';
test('x', async () => {
  const backend = new FaultyBackend();
  const runners = new FakeRunners();
  backend.endpointsOf = runners.endpointsOf;
  const bench = await AgentBench.start(backend);
  const t = performance.now();
  for (let i = 0; i < 5; i++) await bench.agent.createKernels([kernelRequest()], NEVER);
  console.log(performance.now() - t, bench.events.names);
  await bench.agent.reset(NEVER);
  console.log(performance.now() - t, bench.events.names, bench.agent.examine());
  await bench.stop();
  await bench.remove();
  await runners[Symbol.asyncDispose]();
});
