import { parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { KernelResources } from '../../../src/kernels/lifecycle/parts.js';
import { CpuPlugin, MemoryPlugin, NodeResources } from '../../../src/resources/index.js';

const A = parseAgentId('a');
const B = parseAgentId('b');
const K1 = parseKernelId('11111111-1111-4111-8111-111111111111');

test('smoke', async () => {
  const node = await NodeResources.create({
    plugins: [new CpuPlugin(), new MemoryPlugin({ fixedBytes: 1n << 34n })],
    agents: [{ id: A }, { id: B }],
    mode: 'shared',
    reserved: { cpu: 0, memBytes: 1 << 30 },
    memoryAlignBytes: 1 << 24,
    allocationOrder: ['cuda', 'cpu', 'mem'],
    affinityPolicy: 'INTERLEAVED',
    logger: silentLogger,
  });
  const agent = node.forAgent(A);
  const contract: KernelResources = agent;
  console.log(agent.availableSlots());
  const allocation = contract.allocate(K1, {
    slots: { cpu: '1', mem: '1073741824' },
    shmemBytes: null,
    allowFractionalFragmentation: true,
  });
  node.checkInvariants();
  console.log(
    JSON.stringify(allocation),
    agent.environment(allocation),
    agent.limits(allocation),
    agent.dockerArguments(allocation),
  );
  console.log(
    agent.resourceText(allocation, []),
    JSON.stringify(agent.usage(), null, 1),
    agent.attachedDevices(allocation),
  );
  agent.free(K1);
  node.checkInvariants();
});
