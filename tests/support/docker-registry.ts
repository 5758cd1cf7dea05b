import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * A registry of loopback with one image, made on the spot, under every name, and with what is pushed under its own.
 * Engines take it without TLS.
 */
export class DockerRegistry {
  /** `127.0.0.1:<port>` */
  readonly name: string;
  readonly requests: string[] = [];
  /** Set to ask for a name and password. */
  login: { readonly username: string; readonly password: string } | null = null;
  /** Layers are sent from when this resolves on. */
  gate: Promise<void> = Promise.resolve();
  /** Layers break off in the middle. */
  breaks = false;
  /** The second half of a layer is sent from when this resolves on. */
  halfway: Promise<void> = Promise.resolve();
  /** Uploads are taken from when this resolves on. */
  uploadGate: Promise<void> = Promise.resolve();
  /** Layers are taken, the image that they make is not. */
  refusesManifests = false;
  /** `name:tag` -> what was pushed there. */
  readonly pushed = new Map<string, Buffer>();
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  readonly #uploads = new Map<string, Buffer[]>();
  #manifest = Buffer.alloc(0);

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.name = `127.0.0.1:${String(port)}`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<DockerRegistry> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no address');
    const registry = new DockerRegistry(server, address.port);
    await registry.publish('first');
    return registry;
  }

  /** The image `name:tag` of any name, with a file of this content. @returns its id. */
  async publish(content: string): Promise<string> {
    const tar = pack();
    tar.entry({ name: 'content' }, content);
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    const layer = gzipSync(Buffer.concat(chunks));
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config: { Labels: { 'ai.backend.kernelspec': '1' } },
        rootfs: { type: 'layers', diff_ids: [sha256(Buffer.concat(chunks))] },
      }),
    );
    for (const blob of [layer, config]) this.#blobs.set(sha256(blob), blob);
    const part = (mediaType: string, blob: Buffer) => ({
      mediaType,
      size: blob.length,
      digest: sha256(blob),
    });
    this.#manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: part('application/vnd.docker.container.image.v1+json', config),
        layers: [part('application/vnd.docker.image.rootfs.diff.tar.gzip', layer)],
      }),
    );
    return sha256(config);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '';
    this.requests.push(`${request.method ?? ''} ${url}`);
    if (this.login !== null) {
      const { username, password } = this.login;
      const expected = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
      if (request.headers.authorization !== expected) {
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="test"' }).end('{}');
        return;
      }
    }
    if (url === '/v2/') return void response.writeHead(200).end('{}');
    if (request.method === 'POST' || request.method === 'PATCH' || request.method === 'PUT')
      return this.#take(request, response, url);
    if (url.includes('/manifests/') && !url.includes('missing')) {
      response
        .writeHead(200, {
          'Content-Type': MANIFEST_TYPE,
          'Content-Length': this.#manifest.length,
          'Docker-Content-Digest': sha256(this.#manifest),
        })
        .end(request.method === 'HEAD' ? undefined : this.#manifest);
      return;
    }
    const blob = this.#blobs.get(/\/blobs\/(.*)$/.exec(url)?.[1] ?? '');
    if (blob === undefined)
      return void response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
    await this.gate;
    response.writeHead(200, { 'Content-Length': blob.length });
    if (request.method === 'HEAD') return void response.end();
    if (this.breaks) return void response.write(blob.subarray(0, 8), () => response.destroy());
    response.write(blob.subarray(0, blob.length / 2));
    await this.halfway;
    response.end(blob.subarray(blob.length / 2));
  }

  /** A push: an upload is begun, gets its bytes, is closed under its digest; at the end comes the manifest. */
  async #take(request: IncomingMessage, response: ServerResponse, url: string): Promise<void> {
    const { pathname, searchParams } = new URL(url, 'http://registry');
    if (request.method === 'POST') {
      const id = randomUUID();
      this.#uploads.set(id, []);
      response.writeHead(202, { Location: `${pathname}${id}`, 'Docker-Upload-UUID': id }).end();
      return;
    }
    await this.uploadGate;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (pathname.includes('/manifests/')) {
      if (this.refusesManifests)
        return void response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"over quota"}]}');
      this.pushed.set(pathname.replace('/v2/', '').replace('/manifests/', ':'), body);
      response.writeHead(201, { 'Docker-Content-Digest': sha256(body), Location: pathname }).end();
      return;
    }
    const upload = this.#uploads.get(pathname.split('/').at(-1) ?? '');
    if (!upload) return void response.writeHead(404).end('{}');
    upload.push(body);
    if (request.method === 'PATCH') {
      const length = Buffer.concat(upload).length;
      response.writeHead(202, { Location: pathname, Range: `0-${String(length - 1)}` }).end();
      return;
    }
    this.#blobs.set(searchParams.get('digest') ?? '', Buffer.concat(upload));
    response.writeHead(201, { Location: pathname }).end();
  }
}
