import Docker from 'dockerode';
import { z } from 'zod';
import { deferred, within } from '../../core/async.js';
import { hasCode, isSpleniumError, messageOf } from '../../core/errors.js';
import type { ContainerSpec } from './container-spec.js';
import { EngineAgent } from './engine-agent.js';
import {
  containerSchema,
  createdSchema,
  eventSchema,
  imageDetailsSchema,
  imageSchema,
  listedContainersSchema,
  listedImagesSchema,
  networkSchema,
  networksSchema,
  versionSchema,
  type Container,
  type EngineEvent,
  type ImageDetails,
  type ListedContainer,
  type ListedImage,
} from './engine-schemas.js';
import { DockerUnavailableError, EngineError } from './errors.js';
import { pathSafe } from './image-names.js';
import { jsonLines } from './json-lines.js';

export interface EngineOptions {
  /** Path of the engine's socket. Null: what `DOCKER_HOST` says, or the usual place. */
  readonly socketPath: string | null;
  /** For what an engine answers at once. Default 30 s. */
  readonly quickMs?: number;
  /** For creating, starting and removing. Default 90 s. */
  readonly slowMs?: number;
}

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
}

/** What a commit is asked for with (spec/kernel-lifecycle.md 4.2). */
export interface CommitRequest {
  readonly query: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * The calls to the container engine. Each has a deadline, so that an engine that hangs is an error and not a wait;
 * what comes back is checked. "Not there" and "already so" are answers where the caller may expect them.
 *
 * Every method throws DockerUnavailableError when the engine cannot be reached, TimeoutError when it does not
 * answer, EngineError when it refuses.
 */
export class Engine {
  readonly #docker: Docker;
  readonly #quickMs: number;
  readonly #slowMs: number;

  constructor(options: EngineOptions) {
    const agent = new EngineAgent();
    const place = options.socketPath === null ? {} : { socketPath: options.socketPath, host: undefined };
    const settings = { ...place, agent };
    this.#docker = new Docker(settings);
    this.#quickMs = options.quickMs ?? 30_000;
    this.#slowMs = options.slowMs ?? 90_000;
  }

  async version(): Promise<{ readonly engine: string; readonly api: string }> {
    const answer = await this.#quick('asking the engine for its version', () => this.#docker.version());
    const { Version, ApiVersion } = versionSchema.parse(answer);
    return { engine: Version, api: ApiVersion };
  }

  /**
   * Not cancellable: a container that the engine makes although nobody waits any more would be left over. One that
   * comes after the deadline is removed when it comes.
   */
  async create(name: string, spec: ContainerSpec): Promise<string> {
    const answer = this.#docker
      .createContainer({ name, ...spec })
      .then((made) => createdSchema.parse({ Id: made.id }).Id);
    try {
      return await within(answer, { timeoutMs: this.#slowMs, what: `creating container ${name}` });
    } catch (error) {
      if (isSpleniumError(error, 'TIMEOUT')) answer.then((id) => this.remove(id)).catch(() => undefined);
      throw engineFailure(`creating container ${name}`, error);
    }
  }

  /** Unpacks a tar archive in a container that need not run yet. */
  async unpack(id: string, archive: NodeJS.ReadableStream): Promise<void> {
    await this.#call('unpacking files in a container', this.#slowMs, [], (abortSignal) =>
      this.#docker.getContainer(id).putArchive(archive, { path: '/', ...{ abortSignal } }),
    );
  }

  /** Also fine for one that runs. */
  async start(id: string): Promise<void> {
    await this.#call('starting a container', this.#slowMs, [304], (abortSignal) =>
      this.#docker.getContainer(id).start({ abortSignal }),
    );
  }

  /** @returns whether it was sent: false for one that does not run or is not there. */
  async kill(id: string, signal: 'SIGINT' | 'SIGKILL'): Promise<boolean> {
    const what = `sending ${signal} to a container`;
    const sent = await this.#call(what, this.#quickMs, [404, 409], async (abortSignal) => {
      await this.#docker.getContainer(id).kill({ signal, abortSignal });
      return true;
    });
    return sent !== null;
  }

  /** With its anonymous volumes. @returns whether it is gone; false: somebody else's removal of it is under way. */
  async remove(id: string): Promise<boolean> {
    const gone = await this.#call('removing a container', this.#slowMs, [409], async (abortSignal) => {
      const removing = this.#docker.getContainer(id).remove({ force: true, v: true, ...{ abortSignal } });
      await removing.catch((error: unknown) => {
        if (statusOf(error) !== 404) throw error;
      });
      return true;
    });
    return gone !== null;
  }

  /** Null when there is none. */
  async inspect(id: string): Promise<Container | null> {
    const answer = await this.#call('inspecting a container', this.#quickMs, [404], (abortSignal) =>
      this.#docker.getContainer(id).inspect({ abortSignal }),
    );
    return answer === null ? null : containerSchema.parse(answer);
  }

  /** All that carry the labels, alive or dead; `NAME` or `NAME=value`. */
  async list(labels: readonly string[]): Promise<readonly ListedContainer[]> {
    const answer = await this.#quick('listing containers', (abortSignal) =>
      this.#docker.listContainers({ all: true, filters: { label: [...labels] }, abortSignal }),
    );
    return listedContainersSchema.parse(answer);
  }

  /** The last `maxBytes` of a container with a terminal; empty when it is gone. */
  async logs(id: string, maxBytes: number): Promise<Uint8Array> {
    // Not dockerode's own `logs`: it reads what looks like JSON as JSON.
    const answer = await this.#call(
      'reading the log of a container',
      this.#slowMs,
      [404, 409],
      async (abortSignal) => {
        const query = `follow=false&stdout=true&stderr=true&tail=${String(maxBytes)}`;
        const stream = await this.#dial({
          path: `/containers/${id}/logs?${query}`,
          method: 'GET',
          abortSignal,
        });
        let chunks: Uint8Array[] = [];
        let length = 0;
        for await (const chunk of stream) {
          chunks.push(chunk as Uint8Array);
          length += (chunk as Uint8Array).length;
          if (length > 2 * maxBytes + 65_536) {
            chunks = [Buffer.concat(chunks).subarray(-maxBytes)];
            length = maxBytes;
          }
        }
        return maxBytes === 0 ? Buffer.alloc(0) : Buffer.concat(chunks).subarray(-maxBytes);
      },
    );
    return answer instanceof Uint8Array ? answer : new Uint8Array();
  }

  /**
   * What happens to containers with the label, from the given second on. Ends or throws when the engine goes away.
   * The signal ends it, too; there is no other deadline than for its beginning.
   */
  async events(
    label: string,
    sinceSeconds: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<EngineEvent>> {
    const stream = await within(
      this.#docker.getEvents({
        since: sinceSeconds,
        filters: { type: ['container'], event: ['start', 'die', 'destroy', 'oom'], label: [label] },
        abortSignal: signal,
      }),
      { timeoutMs: this.#quickMs, signal, what: 'listening to the engine' },
    ).catch((error: unknown) => {
      throw engineFailure('listening to the engine', error);
    });
    return (async function* () {
      for await (const value of jsonLines(stream as AsyncIterable<unknown>)) {
        const event = eventSchema.safeParse(value);
        if (event.success) yield event.data;
      }
    })();
  }

  /** The image's id, which is the digest of its configuration; null when it is not there. */
  async imageId(canonical: string): Promise<string | null> {
    const answer = await this.#call(`inspecting image ${canonical}`, this.#quickMs, [404], () =>
      this.#docker.getImage(pathSafe(canonical)).inspect(),
    );
    return answer === null ? null : imageSchema.parse(answer).Id;
  }

  /** The records of a pull's progress, in which the last may be an error. Has no deadline but the signal. */
  async pull(
    canonical: string,
    login: RegistryLogin | null,
    signal: AbortSignal,
  ): Promise<AsyncIterable<unknown>> {
    const options = { fromImage: canonical, abortSignal: signal };
    const pulling: Promise<NodeJS.ReadableStream> =
      login === null ? this.#docker.createImage(options) : this.#docker.createImage(login, options);
    const stream = await pulling.catch((error: unknown) => {
      throw engineFailure(`pulling image ${canonical}`, error);
    });
    return jsonLines(stream as AsyncIterable<unknown>);
  }

  /** The records of a push's progress, as those of a pull. Has no deadline but the signal. */
  async push(
    image: { readonly name: string; readonly tag: string },
    login: RegistryLogin | null,
    signal: AbortSignal,
  ): Promise<AsyncIterable<unknown>> {
    const { name, tag } = image;
    // Engines want the header of the login also where there is none.
    const authconfig = login ?? { username: '', password: '', serveraddress: '' };
    const stream = await this.#docker
      .getImage(pathSafe(name))
      .push({ tag, authconfig, abortSignal: signal })
      .catch((error: unknown) => {
        throw engineFailure(`pushing image ${name}:${tag}`, error);
      });
    return jsonLines(stream as AsyncIterable<unknown>);
  }

  /** Without the layers that only lie between two images. */
  async images(): Promise<readonly ListedImage[]> {
    const answer = await this.#quick('listing images', (abortSignal) =>
      this.#docker.listImages({ abortSignal }),
    );
    return listedImagesSchema.parse(answer);
  }

  /** By name or id; null when it is not there. */
  async inspectImage(name: string): Promise<ImageDetails | null> {
    const answer = await this.#call(`inspecting image ${name}`, this.#quickMs, [404], () =>
      this.#docker.getImage(pathSafe(name)).inspect(),
    );
    return answer === null ? null : imageDetailsSchema.parse(answer);
  }

  /** By name or id. */
  async removeImage(
    name: string,
    options: { readonly force: boolean; readonly noprune: boolean },
  ): Promise<void> {
    await this.#call(`removing image ${name}`, this.#slowMs, [], (abortSignal) =>
      this.#docker.getImage(pathSafe(name)).remove({ ...options, abortSignal }),
    );
  }

  /** The id of the image that the engine has made of a container. Has no deadline but the signal. */
  async commit(id: string, { query, body }: CommitRequest, signal: AbortSignal): Promise<string> {
    const options = { _query: { ...query }, _body: { ...body }, abortSignal: signal };
    const answer: unknown = await this.#docker
      .getContainer(id)
      .commit(options)
      .catch((error: unknown) => {
        throw engineFailure('committing a container', error);
      });
    return createdSchema.parse(answer).Id;
  }

  /** The image as a tar archive. Has no deadline but the signal. */
  async exportImage(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const path = `/images/${id}/get`;
    const stream = await this.#dial({ path, method: 'GET', abortSignal: signal }).catch((error: unknown) => {
      throw engineFailure(`exporting image ${id}`, error);
    });
    return stream as AsyncIterable<Uint8Array>;
  }

  async networkExists(name: string): Promise<boolean> {
    const answer = await this.#quick('listing networks', (abortSignal) =>
      this.#docker.listNetworks({ filters: { name: [name] }, abortSignal }),
    );
    // The filter takes parts of names.
    return networksSchema.parse(answer).some((network) => network.Name === name);
  }

  /** Null when there is no such network or nobody knows. */
  async networkSubnet(name: string): Promise<string | null> {
    const answer = await this.#call(`inspecting network ${name}`, this.#quickMs, [404], () =>
      this.#docker.getNetwork(name).inspect(),
    );
    if (answer === null) return null;
    const { IPAM } = networkSchema.parse(answer);
    return IPAM?.Config?.find(({ Subnet }) => Subnet !== undefined)?.Subnet ?? null;
  }

  /** Also fine for a container that is attached already. */
  async connectNetwork(name: string, containerId: string): Promise<void> {
    const isAttached = (error: unknown) =>
      statusOf(error) === 403 && /already exists/i.test(messageOf(error));
    await this.#call(`attaching a container to network ${name}`, this.#slowMs, [], (abortSignal) =>
      this.#docker.getNetwork(name).connect({ Container: containerId, ...{ abortSignal } }),
    ).catch((error: unknown) => {
      if (!isAttached(error)) throw error;
    });
  }

  async volumeExists(name: string): Promise<boolean> {
    const answer = await this.#call(`inspecting volume ${name}`, this.#quickMs, [404], (abortSignal) =>
      this.#docker.getVolume(name).inspect({ abortSignal }),
    );
    return answer !== null;
  }

  async createNetwork(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.#call(`creating network ${name}`, this.#slowMs, [409], (abortSignal) =>
      this.#docker.createNetwork({
        Name: name,
        Driver: 'bridge',
        CheckDuplicate: true,
        Labels: { ...labels },
        ...{ abortSignal },
      }),
    );
  }

  /** Also fine for one that is not there. @throws EngineError when a container is connected to it. */
  async removeNetwork(name: string): Promise<void> {
    await this.#call(`removing network ${name}`, this.#slowMs, [404], (abortSignal) =>
      this.#docker.getNetwork(name).remove({ abortSignal }),
    );
  }

  #quick(what: string, run: (signal: AbortSignal) => Promise<unknown>): Promise<unknown> {
    return this.#call(what, this.#quickMs, [], run);
  }

  /** Null for an HTTP status that counts as an answer. */
  async #call(
    what: string,
    timeoutMs: number,
    fine: readonly number[],
    run: (signal: AbortSignal) => Promise<unknown>,
  ): Promise<unknown> {
    const controller = new AbortController();
    const work = run(controller.signal);
    work.catch(() => undefined);
    try {
      return await within(work, { timeoutMs, what });
    } catch (error) {
      controller.abort();
      if (fine.some((status) => statusOf(error) === status)) return null;
      throw engineFailure(what, error);
    }
  }

  #dial(request: { readonly path: string; readonly method: string; readonly abortSignal: AbortSignal }) {
    const { modem } = this.#docker as { modem: Docker['modem'] };
    const answer = deferred<AsyncIterable<unknown>>();
    const statusCodes = { 200: true, 404: 'no such container', 409: 'conflict', 500: 'server error' };
    modem.dial({ ...request, isStream: true, statusCodes }, (error: unknown, stream: unknown) => {
      if (error === null || error === undefined) answer.resolve(stream as AsyncIterable<unknown>);
      else answer.reject(error);
    });
    return answer.promise;
  }
}

/** HTTP status of an answer that was no success. */
export function statusOf(error: unknown): number | null {
  if (isSpleniumError(error, 'BACKEND_ENGINE_FAILED'))
    return z.number().catch(0).parse(error.details['status']) || null;
  const parsed = z.object({ statusCode: z.number() }).safeParse(error);
  return parsed.success ? parsed.data.statusCode : null;
}

const UNREACHABLE = ['ECONNREFUSED', 'ENOENT', 'EACCES', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'ETIMEDOUT'];

/** One of ours from whatever a call to the engine has failed with. */
export function engineFailure(what: string, error: unknown): Error {
  if (isSpleniumError(error)) return error;
  const cause = { cause: error };
  if (UNREACHABLE.some((code) => hasCode(error, code)))
    return new DockerUnavailableError(
      `${what}: the container engine cannot be reached (${messageOf(error)}): is it running, and may this user use its socket?`,
      { ...cause, retryable: true },
    );
  const status = statusOf(error);
  return new EngineError(`${what}: ${messageOf(error).trim()}`, {
    ...cause,
    retryable: status === null || status >= 500,
    details: { status },
  });
}
