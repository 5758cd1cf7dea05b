import { once } from 'node:events';
import { createServer, connect, type Server, type Socket } from 'node:net';

/** Passes TCP on to a port of loopback; every piece of data can be made to wait. */
export class SlowProxy {
  /** In each direction, from now on. */
  delayMs = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      const target = connect(targetPort, '127.0.0.1');
      this.#pass(client, target);
      this.#pass(target, client);
    });
  }

  static async start(targetPort: number): Promise<SlowProxy> {
    const proxy = new SlowProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** In order: a piece of data leaves after the one before it. */
  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    let last = Promise.resolve();
    const later = (action: () => void): void => {
      const due = new Promise((resolve) => setTimeout(resolve, this.delayMs));
      last = last.then(() => due).then(action);
    };
    from.on('data', (data) => {
      later(() => void to.write(data));
    });
    from.on('end', () => {
      later(() => void to.end());
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
  }
}
