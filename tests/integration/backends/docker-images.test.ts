import { randomBytes } from 'node:crypto';
import type { BackendImages, ImageRequest, TransferListener } from '../../../src/backends/backend.js';
import { Engine } from '../../../src/backends/docker/engine.js';
import { DockerImages } from '../../../src/backends/docker/images.js';
import { deferred } from '../../../src/core/async.js';
import { silentLogger } from '../../../src/core/logger.js';
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
    images = new DockerImages(new Engine({ socketPath: engine.socketPath }).images, silentLogger);
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

  test('the command of an image is told, and that one has none', async () => {
    await images.pull(image, NEVER);
    expect(await images.command?.(image)).toEqual([]);
    const container = await engine.docker.createContainer({ Image: image.canonical, Cmd: ['x'] });
    const [repo, tag] = ['with-command', '1'];
    await container.commit({ repo, tag, changes: 'CMD ["serve", "--all"]' });
    await container.remove();
    // A local image is known without its registry.
    expect(await images.command?.({ canonical: `localhost/${repo}:${tag}`, isLocal: true })).toEqual([
      'serve',
      '--all',
    ]);
    expect(await images.command?.({ canonical: 'not-there:1', isLocal: false })).toEqual([]);
  });

  test('names of one image that all go at once take the image with them', async () => {
    await images.pull(image, NEVER);
    const repos = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    for (const repo of repos) await engine.docker.getImage(image.canonical).tag({ repo, tag: '1' });
    const names = [image.canonical, ...repos.map((repo) => `${repo}:1`)];
    await Promise.all(names.map((name) => images.remove(name, { force: false, isPruningParents: true })));
    expect(await engine.docker.listImages({ all: true })).toEqual([]);
    await expect(
      images.remove(image.canonical, { force: false, isPruningParents: true }),
    ).rejects.toMatchObject({ details: { status: 404 } });
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

  /** Large enough for the engine to tell of its bytes on the way. */
  const publishLarge = async () => {
    const digest = await registry.publish(randomBytes(1024 * 1024).toString('hex'));
    image = { ...image, digest };
  };
  const recorder = () => {
    const heard: Parameters<TransferListener>[0][] = [];
    const listener: TransferListener = (progress) => heard.push(progress);
    return { heard, listener };
  };
  const expectForward = (heard: readonly { readonly current: number; readonly total: number }[]) => {
    const bytes = heard.filter(({ total }) => total > 1000).map(({ current }) => current);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
  };

  test('a pull tells its bytes on the way, also to those who join', async () => {
    await publishLarge();
    const gate = deferred<void>();
    registry.halfway = gate.promise;
    const [first, second] = [recorder(), recorder()];
    const pull = images.pull(image, NEVER, first.listener);
    await eventually(() => {
      const last = first.heard.at(-1);
      expect(last?.current).toBeGreaterThan(1000);
      expect(last?.total).toBeGreaterThan(last?.current ?? 0);
    });
    const joined = images.pull(image, NEVER, second.listener);
    expect(second.heard).toEqual([first.heard.at(-1)]);
    gate.resolve();
    await Promise.all([pull, joined]);
    const last = first.heard.at(-1);
    expect(last).toMatchObject({ current: last?.total, message: '1 of 1 layers done' });
    expectForward(first.heard);
  });

  describe('to another registry', () => {
    let target: DockerRegistry;
    let upload: string;

    beforeEach(async () => {
      target = await DockerRegistry.start();
      await publishLarge();
      await images.pull(image, NEVER);
      upload = `${target.name}/mine/kernel:2`;
      await engine.docker.getImage(image.canonical).tag({ repo: `${target.name}/mine/kernel`, tag: '2' });
    });
    afterEach(() => target.close());

    const push = (username: string | null = null, password: string | null = null) =>
      images.push({ canonical: upload, registry: { name: target.name, username, password } }, NEVER);

    test('a push sends all of it, tells how far it is and leaves other tags', async () => {
      await engine.docker.getImage(image.canonical).tag({ repo: `${target.name}/mine/kernel`, tag: '3' });
      const { heard, listener } = recorder();
      await images.push({ canonical: upload, registry: null }, NEVER, listener);
      expect([...target.pushed.keys()]).toEqual(['mine/kernel:2']);
      expect(heard.at(-1)?.message).toBe('1 of 1 layers done');
      expect(heard.some(({ total }) => total > 1000)).toBe(true);
      expectForward(heard);
    });

    test('a login is used when it is complete, and a wrong one is an error without the password', async () => {
      target.login = { username: 'user', password: 'correct' };
      await expect(push()).rejects.toMatchObject({ code: 'IMAGE_PUSH_FAILED' });
      const failure = await push('user', 'wrong-word').catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'IMAGE_PUSH_FAILED' });
      expect(String(failure)).not.toContain('wrong-word');
      expect(target.pushed.size).toBe(0);
      await push('user', 'correct');
      expect(target.pushed.size).toBe(1);
    });

    test('an error at the end of a stream that began well is an error, in the words managers look for', async () => {
      target.refusesManifests = true;
      await expect(push()).rejects.toMatchObject({
        code: 'IMAGE_PUSH_FAILED',
        pythonName: 'RuntimeError',
        message: expect.stringMatching(`^Failed to push image: ${upload}: `),
      });
    });

    test('an image that is not here is an error', async () => {
      upload = `${target.name}/mine/absent:1`;
      await expect(push()).rejects.toMatchObject({ code: 'IMAGE_PUSH_FAILED' });
    });

    test('the signal ends the push, and nothing is there afterwards', async () => {
      const gate = deferred<void>();
      target.uploadGate = gate.promise;
      const leaving = new AbortController();
      const pushing = images.push({ canonical: upload, registry: null }, leaving.signal);
      await eventually(() => {
        expect(target.requests.some((request) => request.startsWith('PATCH '))).toBe(true);
      });
      leaving.abort();
      await expect(pushing).rejects.toMatchObject({ code: 'CANCELLED' });
      gate.resolve();
      target.uploadGate = Promise.resolve();
      await push();
      expect([...target.pushed.keys()]).toEqual(['mine/kernel:2']);
    });
  });
});
