import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { deferred, type Deferred, within } from '../../src/core/async.js';
import { DEADLINE_MS, type Hang } from './faulty-backend.js';

/** What becomes of a call: it does not arrive, is refused, or is done and its answer gets lost. */
export type EngineFault = 'unsent' | 'refused' | 'unanswered';

/**
 * Stands between a program and the engine's socket and breaks calls, once each. A call is named by its method and its
 * path without version and query, names and ids as `ID`: `POST /containers/ID/start`.
 */
export class EngineProxy {
  readonly socketPath: string;
  /** The name of every call, in order, as it came. The stream of events is left out. */
  calls: string[] = [];
  /** How often the stream of events was asked for. */
  eventStreams = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #faults = new Map<string, EngineFault>();
  readonly #words = new Map<string, unknown>();
  readonly #hangs = new Map<
    string,
    { readonly entered: Deferred<void>; readonly released: Deferred<void> }
  >();
  readonly #target: string;

  private constructor(socketPath: string, target: string) {
    this.socketPath = socketPath;
    this.#target = target;
    this.#server = createServer((call, answer) => {
      this.#pass(call, answer).catch(() => {
        answer.destroy();
      });
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(socketPath: string, target: string): Promise<EngineProxy> {
    const proxy = new EngineProxy(socketPath, target);
    proxy.#server.listen(socketPath);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** The next call of this name. */
  fail(call: string, fault: EngineFault): void {
    this.#faults.set(call, fault);
  }

  /** Every call of this name is answered with this JSON, and the engine does not hear of it. */
  answer(call: string, body: unknown): void {
    this.#words.set(call, body);
  }

  /** Has a fault been set that no call has met so far? */
  get isArmed(): boolean {
    return this.#faults.size > 0;
  }

  /** The next call of this name waits: before it is sent, or with `:after` when its answer is there. */
  hang(call: string): Hang {
    const [entered, released] = [deferred<void>(), deferred<void>()];
    this.#hangs.set(call, { entered, released });
    return {
      get entered() {
        return within(entered.promise, { timeoutMs: DEADLINE_MS, what: `reaching ${call}` });
      },
      release: () => {
        released.resolve();
      },
    };
  }

  heal(): void {
    this.#faults.clear();
    this.#hangs.clear();
    this.#words.clear();
  }

  async #pass(call: IncomingMessage, answer: ServerResponse): Promise<void> {
    const name = nameOf(call);
    if (name === 'GET /events') this.eventStreams += 1;
    else this.calls.push(name);
    await this.#wait(name);
    // Its caller has gone while it waited.
    if (call.destroyed) return;
    const fault = this.#faults.get(name);
    this.#faults.delete(name);
    if (fault === 'unsent') {
      answer.destroy();
      return;
    }
    if (fault === 'refused') {
      answer.writeHead(500, { 'Content-Type': 'application/json' }).end('{"message":"injected"}');
      return;
    }
    if (this.#words.has(name)) {
      const body = JSON.stringify(this.#words.get(name));
      answer.writeHead(200, { 'Content-Type': 'application/json' }).end(body);
      return;
    }
    const { method, url: path, headers } = call;
    const sent = request({ socketPath: this.#target, method, path, headers, agent: false });
    // A caller that leaves takes its call along.
    answer.once('close', () => sent.destroy());
    sent.once('error', () => answer.destroy());
    call.pipe(sent);
    const [got] = (await once(sent, 'response')) as [IncomingMessage];
    if (fault === 'unanswered') {
      got.resume();
      await once(got, 'end');
      answer.destroy();
      return;
    }
    await this.#wait(`${name}:after`);
    answer.writeHead(got.statusCode ?? 500, got.headers);
    // Streams begin before they have anything to say.
    answer.flushHeaders();
    got.once('error', () => answer.destroy());
    got.pipe(answer);
  }

  async #wait(point: string): Promise<void> {
    const hang = this.#hangs.get(point);
    if (!hang) return;
    this.#hangs.delete(point);
    hang.entered.resolve();
    await hang.released.promise;
  }
}

function nameOf({ method = '', url = '' }: IncomingMessage): string {
  const path = url
    .replace(/\?.*$/, '')
    .replace(/^\/v[\d.]+/, '')
    .replace(/^\/images\/(.+)\/json$/, '/images/ID/json')
    .replace(/^\/(containers|networks|volumes)\/(?!(?:json|create)$)[^/]+/, '/$1/ID');
  return `${method} ${path}`;
}
