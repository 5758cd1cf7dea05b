import { type ManagerBench, managerBench, type ManagerRelease } from './manager-bench.js';
import { kernelContract } from './manager-kernel.contract.js';
import { lifecycleContract } from './manager-lifecycle.contract.js';
import { nodeContract } from './manager-node.contract.js';

/**
 * What a manager of either line can do with our daemon, through the manager's own client classes over CURVE. The bench
 * that is returned is there while the tests run, for tests of one line alone.
 */
export function managerContract(python: string, release: ManagerRelease): ManagerBench {
  const bench = managerBench(python, release);
  nodeContract(bench);
  lifecycleContract(bench);
  kernelContract(bench);
  return bench;
}
