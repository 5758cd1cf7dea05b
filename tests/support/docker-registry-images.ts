import type { BackendImages, ImageRequest, ImageUpload, KernelBackend } from '../../src/backends/backend.js';
import { deferred } from '../../src/core/async.js';
import type { ImagesHarness, Transfer } from '../contract/backend-images.contract.js';
import { DockerBackendHarness, type DockerHarnessOptions } from './docker-backend.js';
import type { DockerEngine } from './docker-engine.js';
import { DockerRegistry } from './docker-registry.js';
import { eventually } from './eventually.js';

/** Images of a registry to pull from, and another one to push to. Removes from the engine what came from either. */
export class DockerImagesHarness implements ImagesHarness {
  readonly areReal = true;
  readonly image: ImageRequest;
  readonly missing: ImageRequest;
  readonly images: BackendImages;
  readonly backend: KernelBackend;
  readonly #engine: DockerEngine;
  readonly #backends: DockerBackendHarness;
  readonly #source: DockerRegistry;
  readonly #target: DockerRegistry;

  private constructor(parts: {
    readonly engine: DockerEngine;
    readonly backends: DockerBackendHarness;
    readonly backend: KernelBackend;
    readonly source: DockerRegistry;
    readonly target: DockerRegistry;
    readonly digest: string;
  }) {
    this.#engine = parts.engine;
    this.#backends = parts.backends;
    this.backend = parts.backend;
    this.#source = parts.source;
    this.#target = parts.target;
    this.images = parts.backend.images;
    const { name } = parts.source;
    this.image = {
      canonical: `${name}/contract/kernel:1`,
      digest: parts.digest,
      architecture: 'x86_64',
      isLocal: false,
      autoPull: 'digest',
      registry: { name, username: null, password: null },
    };
    this.missing = { ...this.image, canonical: `${name}/contract/missing:1` };
  }

  static async make(options: DockerHarnessOptions): Promise<DockerImagesHarness> {
    const [source, target] = await Promise.all([DockerRegistry.start(), DockerRegistry.start()]);
    const digest = await source.publish('of the contract');
    const backends = await DockerBackendHarness.make(options);
    const { engine } = options;
    return new DockerImagesHarness({
      engine,
      backends,
      backend: await backends.open(),
      source,
      target,
      digest,
    });
  }

  hold(transfer: Transfer): { readonly entered: () => Promise<void>; readonly release: () => void } {
    const gate = deferred<void>();
    const [registry, begun] = transfer === 'pull' ? [this.#source, /\/blobs\//] : [this.#target, /^PATCH /];
    const before = registry.requests.length;
    if (transfer === 'pull') registry.gate = gate.promise;
    else registry.uploadGate = gate.promise;
    return {
      entered: () =>
        eventually(() => {
          expect(registry.requests.slice(before).some((request) => begun.test(request))).toBe(true);
        }),
      release: () => {
        gate.resolve();
        registry.gate = Promise.resolve();
        registry.uploadGate = Promise.resolve();
      },
    };
  }

  break(transfer: Transfer): void {
    if (transfer === 'pull') this.#source.breaks = true;
    else this.#target.refusesManifests = true;
  }

  mend(): void {
    this.#source.breaks = false;
    this.#target.refusesManifests = false;
  }

  requests(): number {
    return this.#source.requests.length;
  }

  async upload(): Promise<ImageUpload> {
    const repo = `${this.#target.name}/contract/kernel`;
    await this.#engine.docker.getImage(this.image.canonical).tag({ repo, tag: '2' });
    return { canonical: `${repo}:2`, registry: null };
  }

  pushed(): readonly string[] {
    return [...this.#target.pushed.keys()].map((name) => `${this.#target.name}/${name}`);
  }

  async use(): Promise<void> {
    const plan = await this.#backends.plan();
    const never = new AbortController().signal;
    await this.backend.create({ ...plan, imageCanonical: this.image.canonical }, never);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#backends[Symbol.asyncDispose]();
    const { docker } = this.#engine;
    for (const { RepoTags } of await docker.listImages())
      for (const tag of RepoTags ?? [])
        if ([this.#source, this.#target].some(({ name }) => tag.startsWith(`${name}/`)))
          await docker.getImage(tag).remove({ force: true });
    await Promise.all([this.#source.close(), this.#target.close()]);
  }
}
