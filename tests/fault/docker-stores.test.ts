import { describeWithEngine } from '../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../support/docker-images.js';
import { describeStoreFaults } from './store-faults.contract.js';

await describeWithEngine('a daemon of the docker backend whose stores fail', (engine) => {
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
  }, 60_000);

  describeStoreFaults({
    line: '26.9',
    daemon: () => ({ engine }),
    kernel: {
      image: BUSYBOX_IMAGE,
      labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'app' },
      resourceSlots: { cpu: '1', mem: '67108864' },
    },
    faults: ['redis is killed', 'redis is frozen', 'etcd is killed'],
  });
});
