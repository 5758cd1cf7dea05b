import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';
import { describeSessions } from './sessions.contract.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

(available ? describe : describe.skip).each(['25.17', '26.9'] as const)(
  'sessions of a small %s manager on the process backend',
  (line) => {
    describeSessions({
      line,
      daemon: {},
      image: 'local/test/shell:1',
      remains: (daemon) => daemon.kernelProcesses(),
    });
  },
);
