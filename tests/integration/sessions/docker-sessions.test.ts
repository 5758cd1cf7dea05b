import { deferred } from '../../../src/core/async.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { BUSYBOX_IMAGE, busyboxRoot } from '../../support/docker-images.js';
import { DockerRegistry } from '../../support/docker-registry.js';
import { eventually } from '../../support/eventually.js';
import { describeSessions } from './sessions.contract.js';

await describeWithEngine('sessions of a small manager on the docker backend', (engine) => {
  beforeAll(async () => {
    await engine.importImage(await busyboxRoot(), BUSYBOX_IMAGE);
  }, 60_000);

  describe.each(['25.17', '26.9'] as const)('of the %s line', (line) => {
    describeSessions({
      line,
      daemon: { engine },
      image: BUSYBOX_IMAGE,
      remains: async () =>
        (await engine.docker.listContainers({ all: true })).map(({ Names, State }) => [Names, State]),
      more: (context) => {
        describe('of an image that is not there', () => {
          let registry: DockerRegistry;
          beforeAll(async () => {
            registry = await DockerRegistry.start();
          });
          afterEach(() => eventually(() => engine.removeImagesOf(registry.name)));
          afterAll(() => registry.close());

          // The image holds a file and no program at all: the runner needs nothing of it.
          const labels = { 'ai.backend.kernelspec': '1' };

          /** An image that stays: managers look for what was pulled. */
          const pulledBy = (name: string): string => {
            const image = `${registry.name}/stable/${name}:1`;
            engine.testTags.add(image);
            return image;
          };

          test('pulls first', async () => {
            const { manager } = context();
            const session = manager.open({
              image: pulledBy('first'),
              digest: await registry.publish('pulled first'),
              autoPull: 'digest',
              labels,
              agents: ['i-two'],
            });
            await manager.reaches(session, 'RUNNING');
            expect(session.history.slice(0, 3)).toEqual(['PREPARING', 'PULLING', 'PREPARED']);
            manager.terminate(session);
            await manager.reaches(session, 'TERMINATED');
          }, 120_000);

          test('ends during the pull, which makes no kernel afterwards', async () => {
            const { manager } = context();
            const gate = deferred<void>();
            registry.gate = gate.promise;
            const session = manager.open({
              image: pulledBy('second'),
              digest: await registry.publish('pulled too late'),
              autoPull: 'digest',
              labels,
              agents: ['i-one'],
            });
            await manager.reaches(session, 'PULLING');
            manager.terminate(session);
            await manager.reaches(session, 'TERMINATED');
            gate.resolve();
            await eventually(() => {
              expect(
                manager.heard.filter(
                  ({ name, source }) => name === 'image_pull_finished' && source === 'i-one',
                ).length,
              ).toBeGreaterThan(0);
            });
            expect(session.history).toEqual(['PREPARING', 'PULLING', 'TERMINATING', 'TERMINATED']);
          }, 120_000);

          test('is cancelled when the pull fails', async () => {
            const { manager } = context();
            const session = manager.open({
              image: `${registry.name}/stable/missing:1`,
              digest: 'sha256:0',
              autoPull: 'digest',
              labels,
              agents: ['i-one'],
            });
            await manager.reaches(session, 'CANCELLED');
          }, 120_000);
        });
      },
    });
  });
});
