import { within } from '../../core/async.js';
import { isSpleniumError } from '../../core/errors.js';
import type { ContainerSpec } from './container-spec.js';
import type { EngineConnection } from './engine-connection.js';
import { engineFailure, statusOf } from './engine-failures.js';
import {
  containerSchema,
  createdSchema,
  eventSchema,
  listedContainersSchema,
  type Container,
  type EngineEvent,
  type ListedContainer,
} from './engine-schemas.js';
import { jsonLines } from './json-lines.js';

/** What a commit is asked for with (spec/kernel-lifecycle.md 4.2). */
export interface CommitRequest {
  readonly query: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

const EVENTS = ['start', 'die', 'destroy', 'oom'];

/**
 * The engine's containers. What comes back is checked; "not there" and "already so" are answers where the caller may
 * expect them. @throws as EngineConnection
 */
export class EngineContainers {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  /**
   * Not cancellable: a container that the engine makes although nobody waits any more would be left over. One that
   * comes after the deadline is removed when it comes.
   */
  async create(name: string, spec: ContainerSpec): Promise<string> {
    const { docker, slowMs } = this.#connection;
    const answer = docker
      .createContainer({ name, ...spec })
      .then((made) => createdSchema.parse({ Id: made.id }).Id);
    try {
      return await within(answer, { timeoutMs: slowMs, what: `creating container ${name}` });
    } catch (error) {
      if (isSpleniumError(error, 'TIMEOUT')) answer.then((id) => this.remove(id)).catch(() => undefined);
      throw engineFailure(`creating container ${name}`, error);
    }
  }

  /** Unpacks a tar archive in a container that need not run yet. */
  async unpack(id: string, archive: NodeJS.ReadableStream): Promise<void> {
    await this.#connection.call(
      'unpacking files in a container',
      (docker, abortSignal) => docker.getContainer(id).putArchive(archive, { path: '/', ...{ abortSignal } }),
      { timeoutMs: this.#connection.slowMs },
    );
  }

  /** Also fine for one that runs. */
  async start(id: string): Promise<void> {
    await this.#connection.call(
      'starting a container',
      (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
      { timeoutMs: this.#connection.slowMs, fine: [304] },
    );
  }

  /** @returns whether it was sent: false for one that does not run or is not there. */
  async kill(id: string, signal: 'SIGINT' | 'SIGKILL'): Promise<boolean> {
    const sent = await this.#connection.call(
      `sending ${signal} to a container`,
      async (docker, abortSignal) => {
        await docker.getContainer(id).kill({ signal, abortSignal });
        return true;
      },
      { fine: [404, 409] },
    );
    return sent !== null;
  }

  /** With its anonymous volumes. @returns whether it is gone; false: somebody else's removal of it is under way. */
  async remove(id: string): Promise<boolean> {
    const gone = await this.#connection.call(
      'removing a container',
      async (docker, abortSignal) => {
        const removing = docker.getContainer(id).remove({ force: true, v: true, ...{ abortSignal } });
        await removing.catch((error: unknown) => {
          if (statusOf(error) !== 404) throw error;
        });
        return true;
      },
      { timeoutMs: this.#connection.slowMs, fine: [409] },
    );
    return gone !== null;
  }

  /** Null when there is none. */
  async inspect(id: string): Promise<Container | null> {
    const answer = await this.#connection.call(
      'inspecting a container',
      (docker, abortSignal) => docker.getContainer(id).inspect({ abortSignal }),
      { fine: [404] },
    );
    return answer === null ? null : containerSchema.parse(answer);
  }

  /** All that carry the labels, alive or dead; `NAME` or `NAME=value`. */
  async list(labels: readonly string[]): Promise<readonly ListedContainer[]> {
    const answer = await this.#connection.call('listing containers', (docker, abortSignal) =>
      docker.listContainers({ all: true, filters: { label: [...labels] }, abortSignal }),
    );
    return listedContainersSchema.parse(answer);
  }

  /** The last `maxBytes` of a container with a terminal; empty when it is gone. */
  async logs(id: string, maxBytes: number): Promise<Uint8Array> {
    const answer = await this.#connection.call(
      'reading the log of a container',
      async (_, signal) => {
        const query = `follow=false&stdout=true&stderr=true&tail=${String(maxBytes)}`;
        // Not the client library's own `logs`: it reads what looks like JSON as JSON.
        return lastBytes(await this.#connection.get(`/containers/${id}/logs?${query}`, signal), maxBytes);
      },
      { timeoutMs: this.#connection.slowMs, fine: [404, 409] },
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
    const { docker, quickMs } = this.#connection;
    const stream = await within(
      docker.getEvents({
        since: sinceSeconds,
        filters: { type: ['container'], event: EVENTS, label: [label] },
        abortSignal: signal,
      }),
      { timeoutMs: quickMs, signal, what: 'listening to the engine' },
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

  /** The id of the image that the engine has made of a container. Has no deadline but the signal. */
  async commit(id: string, { query, body }: CommitRequest, signal: AbortSignal): Promise<string> {
    const options = { _query: { ...query }, _body: { ...body }, abortSignal: signal };
    const answer: unknown = await this.#connection.docker
      .getContainer(id)
      .commit(options)
      .catch((error: unknown) => {
        throw engineFailure('committing a container', error);
      });
    return createdSchema.parse(answer).Id;
  }
}

/** Of a stream that may be much longer: little more than they is held at any time. */
async function lastBytes(stream: AsyncIterable<unknown>, maxBytes: number): Promise<Uint8Array> {
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
}
