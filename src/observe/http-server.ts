import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Absent: plain HTTP. PEM. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Hears of each answered request. */
  readonly onAnswer?: (answer: HttpAnswer) => void;
  /** Body of `/health`; `isHealthy` decides the status of `/livez` and `/readyz`. */
  readonly health: () => Promise<{ readonly isHealthy: boolean; readonly body: object }>;
  /** Text of `/metrics` in Prometheus' format. */
  readonly metrics: () => Promise<string>;
  readonly logger: Logger;
}

export interface HttpAnswer {
  readonly method: string;
  /** One of the paths that there are, or `other`. */
  readonly endpoint: string;
  readonly status: number;
  readonly durationMs: number;
}

const ENDPOINTS = ['/health', '/livez', '/readyz', '/metrics'] as const;
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Longest time for the headers of a request: a client that never sends them holds a socket no longer. */
const HEADERS_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 256;

/** `/health`, `/livez`, `/readyz` and `/metrics` (spec/events-and-stores.md 8.2): reads only, no authentication. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    const listener: RequestListener = ({ method = '', url = '' }, response) => {
      this.#report(method, url, response);
      void this.#answer(method, url, response);
    };
    const { tls } = options;
    this.#server = tls
      ? createTlsServer({ ...tls, minVersion: 'TLSv1.2' }, listener)
      : createServer(listener);
    this.#server.headersTimeout = HEADERS_TIMEOUT_MS;
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @throws the socket's error, such as `EADDRINUSE`, and what is wrong with certificate or key. */
  static async open(options: HttpServerOptions): Promise<HttpServer> {
    const http = new HttpServer(options);
    await new Promise<void>((resolve, reject) => {
      http.#server.once('error', reject);
      http.#server.listen(options.port, options.host, () => {
        http.#server.off('error', reject);
        resolve();
      });
    });
    return http;
  }

  /** Base URL with the port that the system chose. */
  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return '';
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.#options.tls ? 'https' : 'http'}://${host}:${String(address.port)}`;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #report(method: string, url: string, response: ServerResponse): void {
    const { onAnswer } = this.#options;
    if (!onAnswer) return;
    const startedMs = performance.now();
    const path = url.split('?')[0];
    response.once('close', () => {
      onAnswer({
        // What strangers send must not become a series of its own.
        method: METHODS.has(method) ? method : 'other',
        endpoint: ENDPOINTS.find((known) => known === path) ?? 'other',
        status: response.statusCode,
        durationMs: performance.now() - startedMs,
      });
    });
  }

  async #answer(method: string, url: string, response: ServerResponse): Promise<void> {
    try {
      if (method === 'OPTIONS') {
        // Browsers ask before they read across origins; reading is open to all.
        response.setHeader('access-control-allow-methods', 'GET, HEAD');
        send(response, 204, 'text/plain', '');
        return;
      }
      if (method !== 'GET' && method !== 'HEAD') {
        send(response, 405, 'text/plain', 'only GET\n');
        return;
      }
      switch (url.split('?')[0]) {
        case '/health': {
          const { body } = await this.#options.health();
          send(response, 200, 'application/json', JSON.stringify(body));
          return;
        }
        case '/livez':
        case '/readyz': {
          const { isHealthy, body } = await this.#options.health();
          const told = isHealthy ? body : { ...body, status: 'error' };
          send(response, isHealthy ? 200 : 503, 'application/json', JSON.stringify(told));
          return;
        }
        case '/metrics':
          send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', await this.#options.metrics());
          return;
        default:
          send(response, 404, 'text/plain', 'there are /health, /livez, /readyz and /metrics\n');
      }
    } catch (error) {
      this.#options.logger.error('http request failed', { url, error: messageOf(error) });
      send(response, 500, 'text/plain', 'internal error\n');
    }
  }
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'content-type': contentType, 'access-control-allow-origin': '*' });
  response.end(body);
}
