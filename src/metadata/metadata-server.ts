import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { KernelBackend } from '../backends/backend.js';
import { hasCode, messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { AggregateKernelRegistry } from '../kernels/aggregate-kernel-registry.js';
import type { Kernel } from '../kernels/kernel.js';
import { MetadataServerError } from './errors.js';
import { extensionLeaves } from './extensions.js';
import type { MetadataPlugin, MetadataValue } from './metadata-plugin.js';
import { type MetadataLeaves, placeOf } from './metadata-tree.js';

export interface MetadataServerOptions {
  readonly host: string;
  readonly port: number;
  readonly backend: Required<Pick<KernelBackend, 'kernelAt'>>;
  /** Of all agents. */
  readonly kernels: AggregateKernelRegistry;
  /** What the kernel may be told of its environment; null: nothing is known of it. */
  readonly environmentOf: (kernel: Kernel) => Promise<Readonly<Record<string, string>> | null>;
  /** What confines the kernels of the agent. */
  readonly sandboxOf: (agentId: AgentId) => 'docker' | 'jail';
  /** Default: none. */
  readonly plugins?: readonly MetadataPlugin[];
  readonly logger: Logger;
}

interface Caller {
  readonly address: string;
  readonly agentId: AgentId;
  /** Null: its agent does not know it, or not yet. */
  readonly kernel: Kernel | null;
}

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_CONNECTIONS = 256;
/** One kernel must not keep the others out. */
const MAX_CONNECTIONS_PER_ADDRESS = 16;
const REQUEST_TIMEOUT_MS = 5_000;

/**
 * Tells kernels in containers about themselves (spec/kernel-lifecycle.md 7). Who asks is known by the address that the
 * connection comes from and by nothing else; a header names nobody. Only GET and HEAD; bodies are not read.
 */
export class MetadataServer {
  readonly #options: MetadataServerOptions;
  readonly #server: Server;
  readonly #leaves: MetadataLeaves<Caller>;
  readonly #connections = new Map<string, number>();

  private constructor(options: MetadataServerOptions) {
    this.#options = options;
    this.#leaves = leavesOf(options);
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.headersTimeout = REQUEST_TIMEOUT_MS;
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.#server.timeout = 2 * REQUEST_TIMEOUT_MS;
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket) => {
      this.#count(socket);
    });
  }

  /** @throws MetadataServerError when the address cannot be listened on. */
  static async open(options: MetadataServerOptions): Promise<MetadataServer> {
    const metadata = new MetadataServer(options);
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      metadata.#server.once('error', reject);
      metadata.#server.listen(port, host, () => {
        metadata.#server.off('error', reject);
        resolve();
      });
    }).catch((error: unknown) => {
      const why = hasCode(error, 'EADDRINUSE')
        ? 'another program listens there; stop it, or set agent.metadata-server-port to a free port and point the ' +
          'NAT rule of 169.254.169.254 at it'
        : `${messageOf(error)}; agent.metadata-server-bind-host has to be an address of this machine`;
      throw new MetadataServerError(
        `the metadata server cannot listen on ${host} port ${String(port)}: ${why}`,
        { cause: error, details: { host, port } },
      );
    });
    return metadata;
  }

  /** With the port that the system chose. */
  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #count(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    const open = (this.#connections.get(address) ?? 0) + 1;
    this.#connections.set(address, open);
    socket.once('close', () => {
      const left = (this.#connections.get(address) ?? 1) - 1;
      if (left > 0) this.#connections.set(address, left);
      else this.#connections.delete(address);
    });
    if (open > MAX_CONNECTIONS_PER_ADDRESS) socket.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const address = request.socket.remoteAddress ?? '';
    try {
      const caller = await this.#callerAt(address);
      // A stranger learns nothing, not even what there is.
      if (caller === null) send(response, 403, 'only kernels of this node may ask\n');
      else if (request.method !== 'GET' && request.method !== 'HEAD')
        send(response, 405, 'only GET\n', { allow: 'GET, HEAD' });
      else await this.#answer(caller, request.url ?? '/', response);
    } catch (error) {
      this.#options.logger.error('a request for metadata failed', { address, error: messageOf(error) });
      if (response.headersSent) response.destroy();
      else send(response, 503, 'the node cannot tell right now: try again\n');
    }
  }

  async #callerAt(address: string): Promise<Caller | null> {
    const { backend, kernels } = this.#options;
    const handle = await backend.kernelAt(address);
    if (handle === null) return null;
    const kernel = kernels.find(handle.kernelId);
    // Not the record of an earlier container, nor of another agent's kernel.
    const isOwn = kernel?.agentId === handle.agentId && kernel.containerId === handle.containerId;
    return {
      address: address.replace(/^::ffff:(?=\d+\.)/i, ''),
      agentId: handle.agentId,
      kernel: isOwn ? kernel : null,
    };
  }

  async #answer(caller: Caller, url: string, response: ServerResponse): Promise<void> {
    const place = placeOf(url.split('?')[0] ?? '', Object.keys(this.#leaves));
    if (place.kind === 'list') {
      send(response, 200, place.names.join('\n'), SERVER);
      return;
    }
    const value = place.kind === 'none' ? null : await this.#leaves[place.path]?.(caller);
    if (value) send(response, 200, value.body, { ...SERVER, 'content-type': value.contentType });
    else send(response, 404, 'there is no such value\n', SERVER);
  }
}

const SERVER = { server: 'BackendAI' } as const;

function leavesOf({ environmentOf, sandboxOf, plugins = [] }: MetadataServerOptions): MetadataLeaves<Caller> {
  const text = (body: string): MetadataValue => ({ contentType: 'text/plain', body });
  return {
    'meta-data/envs': async ({ kernel }) => {
      const variables = kernel === null ? null : await environmentOf(kernel);
      return variables === null ? null : { contentType: 'application/json', body: JSON.stringify(variables) };
    },
    'meta-data/sandbox': ({ agentId }) => text(sandboxOf(agentId)),
    'meta-data/local-ipv4': ({ address }) => text(address),
    ...extensionLeaves(plugins),
  };
}

/** The connection ends with the answer: whatever body came with the request is never read. */
function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': 'text/plain',
    connection: 'close',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}
