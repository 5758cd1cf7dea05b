// Counts the calls to an engine: a socket in front of it, which passes everything on.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Works because a client of ours makes a connection for each call. */
export class CallCounter {
  #server;
  #sockets = new Set();
  /** `METHOD /path/ID` and milliseconds to the first byte of the answer; the stream of events is left out. */
  #calls = [];

  static async start(socketPath, enginePath) {
    const counter = new CallCounter();
    counter.#server = createServer((client) => {
      counter.#pass(client, connect(enginePath));
    }).listen(socketPath);
    await once(counter.#server, 'listening');
    return counter;
  }

  #pass(client, engine) {
    for (const socket of [client, engine]) {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => this.#sockets.delete(socket));
    }
    const begin = performance.now();
    client.once('data', (data) => {
      const [method, target = ''] = data.toString('latin1').split(' ', 2);
      const path = target
        .replace(/\?.*$/, '')
        .replace(/^\/v[\d.]+/, '')
        .replace(/[0-9a-f]{64}/, 'ID');
      if (path === '/events') return;
      const call = { name: `${method} ${path}`, ms: 0 };
      this.#calls.push(call);
      engine.once('data', () => (call.ms = performance.now() - begin));
    });
    client.pipe(engine);
    engine.pipe(client);
  }

  /** Those since the last time. */
  take() {
    const calls = this.#calls;
    this.#calls = [];
    return calls;
  }

  close() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
