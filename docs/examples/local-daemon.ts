// What runs on a daemon of this machine, agent by agent. Argument: its state directory. Needs no keys but the right to read it.
import { AgentClient, findLocalDaemon, isSpleniumError } from 'splenium';

const [stateDirectory = 'state/daemon'] = process.argv.slice(2);

try {
  const { target, pid } = await findLocalDaemon(stateDirectory);
  const node = new AgentClient(target);
  try {
    for (const { agent_id: agentId, slots } of await node.call('describe_resources', {})) {
      const kernels = await node.withAgent(agentId).listKernels();
      const free = Object.entries(slots).map(([slot, { free, capacity }]) => `${slot} ${free}/${capacity}`);
      process.stdout.write(`${agentId} (process ${String(pid)}): free ${free.join(', ')}\n`);
      for (const { kernel_id: id, state, image } of kernels)
        process.stdout.write(`  ${id} ${state} ${image}\n`);
    }
  } finally {
    await node.close();
  }
} catch (error) {
  // Errors are told apart by their code; the message says what to do.
  if (!isSpleniumError(error)) throw error;
  process.stderr.write(`${error.code}: ${error.message}\n`);
  process.exitCode = 1;
}
