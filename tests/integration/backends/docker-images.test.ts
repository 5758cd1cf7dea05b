import type { BackendImages, ImageRequest } from '../../../src/backends/backend.js';
import { Engine } from '../../../src/backends/docker/engine.js';
import { DockerImages } from '../../../src/backends/docker/images.js';
import { deferred } from '../../../src/core/async.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { DockerRegistry } from '../../support/docker-registry.js';
import { eventually } from '../../support/eventually.js';

const NEVER = new AbortController().signal;

await describeWithEngine('images of a registry', (engine) => {
  let registry: DockerRegistry;
  let images: BackendImages;
  let image: ImageRequest;

  beforeEach(async () => {
    registry = await DockerRegistry.start();
    images = new DockerImages(new Engine({ socketPath: engine.socketPath }));
    image = {
      canonical: `${registry.name}/stable/kernel:1`,
      digest: await registry.publish('first'),
      architecture: 'x86_64',
      isLocal: false,
      autoPull: 'digest',
      registry: { name: registry.name, username: null, password: null },
    };
  });
  afterEach(async () => {
    await registry.close();
    for (const { Id } of await engine.docker.listImages())
      await engine.docker.getImage(Id).remove({ force: true });
  });

  const availability = async (digest = image.digest) => ({
    digest: await images.isAvailable({ ...image, digest, autoPull: 'digest' }),
    tag: await images.isAvailable({ ...image, digest, autoPull: 'tag' }),
    none: await images.isAvailable({ ...image, digest, autoPull: 'none' }),
  });

  test('an absent image is available under no policy, a local one always', async () => {
    expect(await availability()).toEqual({ digest: false, tag: false, none: false });
    expect(await images.isAvailable({ ...image, isLocal: true })).toBe(true);
  });

  test('a pulled image is there; another digest counts for one policy only', async () => {
    await images.pull(image, NEVER);
    expect(await availability()).toEqual({ digest: true, tag: true, none: true });
    expect(await availability('sha256:00')).toEqual({ digest: false, tag: true, none: true });
    const newer = await registry.publish('second');
    await images.pull(image, NEVER);
    expect(await availability(newer)).toEqual({ digest: true, tag: true, none: true });
  });

  test('a login is used when it is complete, and a wrong one is an error without the password', async () => {
    registry.login = { username: 'user', password: 'correct' };
    const pull = (username: string | null, password: string | null) =>
      images.pull({ ...image, registry: { name: registry.name, username, password } }, NEVER);
    await expect(pull(null, null)).rejects.toMatchObject({ code: 'IMAGE_PULL_FAILED' });
    const failure = await pull('user', 'wrong-word').catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'IMAGE_PULL_FAILED' });
    expect(String(failure)).not.toContain('wrong-word');
    await pull('user', 'correct');
    expect((await availability()).digest).toBe(true);
  });

  test('what the registry does not have is an error that names the image', async () => {
    const canonical = `${registry.name}/stable/missing:1`;
    await expect(images.pull({ ...image, canonical }, NEVER)).rejects.toMatchObject({
      code: 'IMAGE_PULL_FAILED',
      message: expect.stringContaining(canonical),
    });
  });

  test('an error at the end of a stream that began well is an error', async () => {
    registry.breaks = true;
    await expect(images.pull(image, NEVER)).rejects.toMatchObject({ code: 'IMAGE_PULL_FAILED' });
    expect((await availability()).tag).toBe(false);
  });

  test('pulls at one time are one, and whoever leaves takes nothing from the others', async () => {
    const gate = deferred<void>();
    registry.gate = gate.promise;
    const leaving = new AbortController();
    const first = images.pull(image, leaving.signal);
    const others = [images.pull(image, NEVER), images.pull(image, NEVER)];
    await eventually(() => {
      expect(registry.requests.some((request) => request.includes('/blobs/'))).toBe(true);
    });
    leaving.abort();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.resolve();
    await Promise.all(others);
    expect((await availability()).digest).toBe(true);
    const manifests = registry.requests.filter((request) => /GET .*\/manifests\//.test(request));
    expect(manifests.length).toBeLessThanOrEqual(2);
  });

  test('when the last one leaves the pull ends, and the next one begins anew', async () => {
    const gate = deferred<void>();
    registry.gate = gate.promise;
    const leaving = new AbortController();
    const first = images.pull(image, leaving.signal);
    await eventually(() => {
      expect(registry.requests.some((request) => request.includes('/blobs/'))).toBe(true);
    });
    leaving.abort();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await availability()).tag).toBe(false);
    gate.resolve();
    await images.pull(image, NEVER);
    expect((await availability()).digest).toBe(true);
  });
});
