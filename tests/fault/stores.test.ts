import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { PYTHON_KERNEL } from './live-kernel.js';
import { describeStoreFaults, FAULT_NAMES } from './store-faults.contract.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

(available ? describe : describe.skip)('a daemon whose stores fail', () => {
  describe('with a 25.17 manager', () => {
    describeStoreFaults({
      line: '25.17',
      daemon: () => ({}),
      kernel: PYTHON_KERNEL,
      faults: FAULT_NAMES,
    });
  });

  // The other encoding, where it can make a difference.
  describe('with a 26.9 manager', () => {
    describeStoreFaults({
      line: '26.9',
      daemon: () => ({}),
      kernel: PYTHON_KERNEL,
      faults: ['redis is killed', 'redis is full', 'etcd comes back empty'],
    });
  });
});
