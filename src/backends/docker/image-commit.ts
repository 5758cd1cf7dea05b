import { within } from '../../core/async.js';
import { ValueError } from '../../core/errors.js';
import type { BackendImages, CommittedImage, KernelHandle } from '../backend.js';
import type { Engine } from './engine.js';
import type { CommitRequest } from './engine-containers.js';
import { engineFailure } from './engine-failures.js';
import { nameAndTag } from './image-names.js';
import { IDENTITY_LABELS } from './kernel-labels.js';

/** How long an answer that nobody waits for any more may still come, so that its image can be deleted. */
const LATE_ANSWER_MS = 600_000;

/**
 * Makes an image of the container and returns its id. The engine cannot be told to stop: an image that it finishes
 * after the signal is deleted when it comes.
 * @throws ValueError for a label that cannot be written, CancelledError, and the engine's error.
 */
export async function commitContainer(
  parts: { readonly engine: Engine; readonly images: Pick<BackendImages, 'remove'> },
  { containerId, kernelId }: KernelHandle,
  image: CommittedImage,
  signal: AbortSignal,
): Promise<string> {
  const { engine, images } = parts;
  const what = `committing kernel ${kernelId}`;
  const version = await within(engine.version(), { signal, what });
  const request = commitRequest(containerId, image, version.engine);
  const limit = new AbortController();
  const work = engine.containers.commit(containerId, request, limit.signal);
  try {
    return await within(work, { signal, what });
  } catch (error) {
    if (signal.aborted) {
      const timer = setTimeout(() => {
        limit.abort();
      }, LATE_ANSWER_MS).unref();
      work
        .then((id) => images.remove(id, { force: true, isPruningParents: true }))
        .catch(() => undefined)
        .finally(() => {
          clearTimeout(timer);
        });
    }
    throw engineFailure(what, error);
  }
}

/** @throws ValueError for a label that cannot be written. */
export function commitRequest(
  containerId: string,
  { canonical, labels }: CommittedImage,
  engineVersion: string,
): CommitRequest {
  // The kernel's own labels would make a container that anybody starts of the image look like a kernel of this
  // agent, and they tell paths of this machine to whoever gets the image.
  const blank = Object.fromEntries(IDENTITY_LABELS.map((name) => [name, '']));
  const changes = Object.entries({ ...blank, ...labels }).map(([name, value]) => labelChange(name, value));
  const { name, tag } = canonical === null ? { name: '', tag: '' } : nameAndTag(canonical);
  return {
    query: {
      container: containerId,
      // As the original, which leaves it to the engine to hold the processes while it reads their files.
      pause: 'true',
      ...(name === '' ? {} : { repo: name, tag }),
      changes: changes.join('\n'),
    },
    body: needsBody(engineVersion) ? { ContainerSpec: {} } : {},
  };
}

/** One line of a Dockerfile, in which nothing of the texts means anything. */
function labelChange(name: string, value: string): string {
  if (/[\r\n\0]/.test(name + value) || name === '')
    throw new ValueError(`label ${JSON.stringify(name)} of the new image must be one line of text`);
  return `LABEL ${quoted(name)}=${quoted(value)}`;
}

const quoted = (text: string): string => `"${text.replace(/[\\"$]/g, '\\$&')}"`;

/** Engines 23 before 23.0.8 and 24 before 24.0.1 fail on a commit without a body. */
function needsBody(engineVersion: string): boolean {
  const [, major, patch] = /^(\d+)\.\d+\.(\d+)/.exec(engineVersion) ?? [];
  return (major === '23' && Number(patch) < 8) || (major === '24' && Number(patch) < 1);
}
