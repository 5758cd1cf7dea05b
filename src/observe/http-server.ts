import { createServer, type Server, type ServerResponse } from 'node:http';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Body of `/health`; `isHealthy` decides the status of `/livez` and `/readyz`. */
  readonly health: () => Promise<{ readonly isHealthy: boolean; readonly body: object }>;
  /** Text of `/metrics` in Prometheus' format. */
  readonly metrics: () => Promise<string>;
  readonly logger: Logger;
}

/** Longest time for the headers of a request: a client that never sends them holds a socket no longer. */
const HEADERS_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 256;

/** `/health`, `/livez`, `/readyz` and `/metrics` (spec/events-and-stores.md 8.2): reads only, no authentication. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void this.#answer(request.method ?? '', request.url ?? '', response);
    });
    this.#server.headersTimeout = HEADERS_TIMEOUT_MS;
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @throws the socket's error, such as `EADDRINUSE`. */
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
    return `http://${host}:${String(address.port)}`;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(method: string, url: string, response: ServerResponse): Promise<void> {
    try {
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
          send(response, isHealthy ? 200 : 503, 'application/json', JSON.stringify(body));
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
