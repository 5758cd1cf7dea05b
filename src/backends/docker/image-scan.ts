import { mapBounded } from '../../core/async.js';
import type { Logger } from '../../core/logger.js';
import type { InstalledImage } from '../backend.js';
import type { EngineImages } from './engine-images.js';
import type { ImageDetails } from './engine-schemas.js';
import { architectureOf, namingProblem } from './image-names.js';

const SPEC_LABEL = 'ai.backend.kernelspec';
const SPECS = { first: 1, last: 1 } as const;
const INSPECTIONS_AT_ONCE = 4;

/**
 * Which of the engine's images kernels can be made of (spec/kernel-lifecycle.md 5.3). An id says everything about its
 * image, so each is inspected once for as long as it is there: a scan where nothing is new is one call.
 */
export class ImageScan {
  readonly #images: Pick<EngineImages, 'list' | 'inspect'>;
  readonly #logger: Logger;
  #inspected: ReadonlyMap<string, ImageDetails> = new Map();
  #misnamed: ReadonlySet<string> = new Set();

  constructor(images: Pick<EngineImages, 'list' | 'inspect'>, logger: Logger) {
    this.#images = images;
    this.#logger = logger;
  }

  /** @throws the engine's error; an image that vanishes meanwhile is only left out. */
  async scan(): Promise<readonly InstalledImage[]> {
    const listed = (await this.#images.list()).map(({ Id, RepoTags }) => ({
      id: Id,
      names: this.#usable(RepoTags),
    }));
    this.#forgetMisnamed(listed.flatMap(({ names }) => names.misnamed));
    const named = listed.filter(({ names }) => names.wellNamed.length > 0);
    const details = new Map<string, ImageDetails>();
    await mapBounded(new Set(named.map(({ id }) => id)), INSPECTIONS_AT_ONCE, async (id) => {
      const found = this.#inspected.get(id) ?? (await this.#images.inspect(id));
      if (found !== null) details.set(id, found);
    });
    this.#inspected = details;
    return named.flatMap(({ id, names }) => {
      const found = details.get(id);
      if (found === undefined || !isKernelImage(found.Config?.Labels ?? null)) return [];
      const architecture = architectureOf(found.Architecture);
      return names.wellNamed.map((canonical) => ({ canonical, digest: id, architecture }));
    });
  }

  #usable(tags: readonly string[]): { readonly wellNamed: string[]; readonly misnamed: string[] } {
    const names = { wellNamed: [] as string[], misnamed: [] as string[] };
    for (const tag of tags) {
      if (tag.endsWith('<none>')) continue;
      const problem = namingProblem(tag);
      if (problem === null) names.wellNamed.push(tag);
      else {
        names.misnamed.push(tag);
        if (!this.#misnamed.has(tag))
          this.#logger.warn('an image is left out: managers cannot read its name', { image: tag, problem });
      }
    }
    return names;
  }

  /** A name that went and comes back is told again; those that stay are told once. */
  #forgetMisnamed(present: readonly string[]): void {
    this.#misnamed = new Set(present);
  }
}

/** Labels of any kind make an image one for kernels, unless its specification is one that nobody here knows. */
export function isKernelImage(labels: Readonly<Record<string, string>> | null): boolean {
  if (labels === null) return false;
  const text = (labels[SPEC_LABEL] ?? '1').trim();
  const spec = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
  return spec >= SPECS.first && spec <= SPECS.last;
}
