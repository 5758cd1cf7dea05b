import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDaemon } from '../support/daemon.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { describeKilledDaemon, polled, type Watch } from './killed-daemon.contract.js';
import { KernelFilesOnDisk } from './kernel-files.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

const when =
  (condition: (files: KernelFilesOnDisk) => boolean) =>
  (kernelId: string, daemon: TestDaemon): Watch => {
    const files = new KernelFilesOnDisk(daemon, 'i-one', kernelId);
    return polled(() => condition(files));
  };

(available ? describe : describe.skip)('a daemon of the process backend, as its manager sees it', () => {
  describeKilledDaemon({
    daemon: () => ({}),
    image: 'local/test/shell:1',
    labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' },
    remains: (daemon) => daemon.kernelProcesses(),
    table: {
      creation: [
        ['the journal has the kernel', when(({ recordedState }) => recordedState !== '')],
        ['its scratch directory is there', when(({ hasScratch }) => hasScratch)],
        ['its files are written', when(({ scratch }) => existsSync(join(scratch, 'config', 'resource.txt')))],
        ['its container has an id', when((files) => files.says('config/resource.txt', 'CID='))],
        ['the journal says running', when(({ recordedState }) => recordedState === 'running')],
        ['the manager has heard of it', null],
      ],
      destruction: [
        ['the journal says terminating', when(({ recordedState }) => recordedState === 'terminating')],
        ['the scratch directory is gone', when(({ hasScratch }) => !hasScratch)],
        ['the journal has forgotten it', when(({ recordedState }) => recordedState === '')],
        ['the manager has heard of it', null],
      ],
    },
  });
});
