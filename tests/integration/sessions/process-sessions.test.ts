import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';
import { describeSessions } from './sessions.contract.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

(available ? describe : describe.skip)('sessions of a small manager on the process backend', () => {
  describeSessions({
    daemon: {},
    image: 'local/test/shell:1',
    remains: (daemon) => daemon.kernelProcesses(),
  });
});
