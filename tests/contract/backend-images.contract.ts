import type {
  BackendImages,
  ImageRequest,
  ImageUpload,
  KernelBackend,
  TransferListener,
} from '../../src/backends/backend.js';
import type { BackendHarness } from './backend.contract.js';

export type Transfer = 'pull' | 'push';

/** What the tests of a backend with images must offer. */
export interface ImagesHarness extends AsyncDisposable {
  readonly backend: KernelBackend;
  readonly images: BackendImages;
  /** Can be pulled, and is not here yet. */
  readonly image: ImageRequest;
  /** In no registry. */
  readonly missing: ImageRequest;
  /** They have digests and are listed. */
  readonly areReal: boolean;
  /** Transfers stop halfway until they are released. */
  hold(transfer: Transfer): { readonly entered: () => Promise<void>; readonly release: () => void };
  /** Transfers fail in the middle until they are mended. */
  break(transfer: Transfer): void;
  mend(): void;
  /** How much whoever gives images away has been asked so far. */
  requests(): number;
  /** Where the image, which is here, may be pushed to. */
  upload(): Promise<ImageUpload>;
  /** Names that were pushed. Absent: nobody keeps them. */
  pushed?(): readonly string[];
  /** Makes a kernel of the image, which is here. */
  use(): Promise<void>;
}

const NEVER = new AbortController().signal;
const KEEP = { force: false, isPruningParents: true };
const FORCE = { force: true, isPruningParents: true };
const POLICIES = ['digest', 'tag', 'none'] as const;

/** What every backend with images does with them (spec/kernel-lifecycle.md 2.6, 4.3, 5.3). */
export function describeBackendImages(name: string, makeHarness: () => Promise<ImagesHarness>): void {
  describe(`${name} backend, images`, () => {
    let harness: ImagesHarness;
    let images: BackendImages;
    let image: ImageRequest;

    beforeEach(async () => {
      harness = await makeHarness();
      ({ images, image } = harness);
    });
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
    });

    const policiesThatTakeIt = async (one: ImageRequest = image) => {
      const found = await Promise.all(
        POLICIES.map(async (autoPull) =>
          (await images.isAvailable({ ...one, autoPull })) ? [autoPull] : [],
        ),
      );
      return found.flat();
    };
    const isHere = async () => (await policiesThatTakeIt()).includes('tag');
    const recorder = () => {
      const heard: Parameters<TransferListener>[0][] = [];
      const listener: TransferListener = (progress) => heard.push(progress);
      return { heard, listener };
    };

    test('an absent image is there under no policy, a local one under all, one that was pulled under all', async () => {
      expect(await policiesThatTakeIt()).toEqual([]);
      expect(await policiesThatTakeIt({ ...image, isLocal: true })).toEqual(POLICIES);
      await images.pull(image, NEVER);
      expect(await policiesThatTakeIt()).toEqual(POLICIES);
      await images.pull(image, NEVER);
      expect(await policiesThatTakeIt()).toEqual(POLICIES);
    });

    test('another digest counts under one policy only, where there are digests', async () => {
      await images.pull(image, NEVER);
      expect(await policiesThatTakeIt({ ...image, digest: `sha256:${'0'.repeat(64)}` })).toEqual(
        harness.areReal ? ['tag', 'none'] : POLICIES,
      );
    });

    test('what is in no registry is an error that names it', async () => {
      const { canonical } = harness.missing;
      await expect(images.pull(harness.missing, NEVER)).rejects.toMatchObject({
        message: expect.stringContaining(canonical) as unknown,
      });
      expect(await policiesThatTakeIt(harness.missing)).toEqual([]);
    });

    test('a pull that fails in the middle leaves no image, and the next one is a new one', async () => {
      harness.break('pull');
      await expect(images.pull(image, NEVER)).rejects.toMatchObject({
        message: expect.stringContaining(image.canonical) as unknown,
      });
      expect(await isHere()).toBe(false);
      harness.mend();
      await images.pull(image, NEVER);
      expect(await isHere()).toBe(true);
    });

    test('a pull that nobody wants any more is not begun', async () => {
      await expect(images.pull(image, AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await isHere()).toBe(false);
    });

    test('pulls at one time are one, and whoever leaves takes nothing from the others', async () => {
      const before = harness.requests();
      await images.pull(image, NEVER);
      const forOne = harness.requests() - before;
      await images.remove(image.canonical, FORCE);
      const hold = harness.hold('pull');
      const leaving = new AbortController();
      const first = images.pull(image, leaving.signal);
      const others = [images.pull(image, NEVER), images.pull(image, NEVER)];
      await hold.entered();
      leaving.abort();
      await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
      hold.release();
      await Promise.all(others);
      expect(await isHere()).toBe(true);
      expect(harness.requests() - before).toBeLessThanOrEqual(2 * forOne);
    });

    test('one that fails fails for all that joined it', async () => {
      harness.break('pull');
      const hold = harness.hold('pull');
      const pulls = [images.pull(image, NEVER), images.pull(image, NEVER)];
      const outcomes = Promise.allSettled(pulls);
      await hold.entered();
      hold.release();
      expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    });

    test('when the last one leaves the pull ends, and the next one begins anew', async () => {
      const hold = harness.hold('pull');
      const leaving = new AbortController();
      const first = images.pull(image, leaving.signal);
      await hold.entered();
      leaving.abort();
      await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await isHere()).toBe(false);
      hold.release();
      await images.pull(image, NEVER);
      expect(await isHere()).toBe(true);
    });

    test('whoever listens hears how far a transfer is, up to its end', async () => {
      const { heard, listener } = recorder();
      await images.pull(image, NEVER, listener);
      const pushing = recorder();
      await images.push(await harness.upload(), NEVER, pushing.listener);
      for (const told of [heard, pushing.heard]) {
        expect(told.length).toBeGreaterThan(0);
        for (const { current, total, message } of told) {
          expect(message).not.toBe('');
          expect(total === 0 || current <= total).toBe(true);
        }
        const last = told.at(-1);
        expect(last?.current).toBe(last?.total);
      }
    });

    test('a push arrives, and one of what is not here is an error that names it', async () => {
      await expect(
        images.push({ canonical: harness.missing.canonical, registry: null }, NEVER),
      ).rejects.toMatchObject({
        message: expect.stringContaining(harness.missing.canonical) as unknown,
      });
      await images.pull(image, NEVER);
      const upload = await harness.upload();
      await images.push(upload, NEVER);
      if (harness.pushed) expect(harness.pushed()).toEqual([upload.canonical]);
    });

    test('a push that fails in the middle says which, and the next one arrives', async () => {
      await images.pull(image, NEVER);
      const upload = await harness.upload();
      harness.break('push');
      await expect(images.push(upload, NEVER)).rejects.toMatchObject({
        message: expect.stringContaining(upload.canonical) as unknown,
      });
      harness.mend();
      await images.push(upload, NEVER);
    });

    test('the signal ends a push', async () => {
      await images.pull(image, NEVER);
      const upload = await harness.upload();
      await expect(images.push(upload, AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' });
      const hold = harness.hold('push');
      const leaving = new AbortController();
      const pushing = images.push(upload, leaving.signal);
      await hold.entered();
      leaving.abort();
      await expect(pushing).rejects.toMatchObject({ code: 'CANCELLED' });
      hold.release();
    });

    test('a removed image is gone, and cannot be removed once more', async () => {
      await images.pull(image, NEVER);
      await images.remove(image.canonical, KEEP);
      expect(await isHere()).toBe(false);
      await expect(images.remove(image.canonical, FORCE)).rejects.toMatchObject({
        message: expect.stringContaining(image.canonical) as unknown,
      });
    });

    test('an image that a kernel is made of stays, unless its removal is forced', async () => {
      await images.pull(image, NEVER);
      await harness.use();
      await expect(images.remove(image.canonical, KEEP)).rejects.toThrow();
      expect(await isHere()).toBe(true);
      await images.remove(image.canonical, FORCE);
      expect(await isHere()).toBe(false);
    });

    test('images that kernels can be made of are listed, where they are real', async () => {
      const listed = async () => (await images.list()).map(({ canonical }) => canonical);
      expect(await listed()).not.toContain(image.canonical);
      await images.pull(image, NEVER);
      const found = (await images.list()).filter(({ canonical }) => canonical === image.canonical);
      expect(found).toEqual(
        harness.areReal
          ? [
              {
                canonical: image.canonical,
                digest: image.digest,
                architecture: expect.stringMatching(/^(x86_64|aarch64)$/) as unknown,
              },
            ]
          : [],
      );
      await images.remove(image.canonical, FORCE);
      expect(await listed()).not.toContain(image.canonical);
    });

    test('an image is exported as an archive, one that is not here is an error', async () => {
      await images.pull(image, NEVER);
      let bytes = 0;
      for await (const chunk of await images.export(image.canonical, NEVER)) bytes += chunk.length;
      expect(bytes).toBeGreaterThanOrEqual(1024);
      await expect(images.export(harness.missing.canonical, NEVER)).rejects.toThrow();
    });

    test('the command of an image is a list of words', async () => {
      await images.pull(image, NEVER);
      const words = (await images.command?.(image)) ?? [];
      expect(words.every((word) => typeof word === 'string')).toBe(true);
    });
  });
}

/** What a backend says of images that has none: kernels need none, so they lack none. */
export function describeNoImages(name: string, makeHarness: () => Promise<BackendHarness>): void {
  describe(`${name} backend, which has no images`, () => {
    let harness: BackendHarness;
    let backend: KernelBackend;
    const image: ImageRequest = {
      canonical: 'registry.example/any:1',
      digest: 'sha256:1',
      architecture: 'x86_64',
      isLocal: false,
      autoPull: 'digest',
      registry: null,
    };

    beforeEach(async () => {
      harness = await makeHarness();
      backend = await harness.open();
    });
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
    });

    test.each(POLICIES)(
      'every image is there under the policy %s, and its pull is over at once',
      async (autoPull) => {
        expect(await backend.images.isAvailable({ ...image, autoPull })).toBe(true);
        await backend.images.pull({ ...image, autoPull }, NEVER);
      },
    );

    test('none is listed, and none has a command', async () => {
      expect(await backend.images.list()).toEqual([]);
      expect((await backend.images.command?.(image)) ?? []).toEqual([]);
    });

    test('what works on an image is refused, in words that say what to do', async () => {
      const { images } = backend;
      const { canonical } = image;
      for (const refused of [
        images.push({ canonical, registry: null }, NEVER),
        images.remove(canonical, FORCE),
        images.export(canonical, NEVER),
      ])
        await expect(refused).rejects.toMatchObject({
          code: 'NOT_IMPLEMENTED',
          pythonName: 'NotImplementedError',
          message: expect.stringContaining('use the docker backend') as unknown,
        });
    });
  });
}
