import { Dealer } from 'zeromq';
import { Peer } from '../../src/callosum/index.js';
import type { BindOptions, CallHandler, ConnectOptions, IncomingCall } from '../../src/callosum/index.js';
import { decodeMessage, encodeMessage } from '../../src/callosum/wire/message.js';
import type { Message } from '../../src/callosum/wire/message.js';
import { msgpack } from './callosum.js';

/** Peers and raw sockets over loopback, closed together. */
export class PeerBench {
  readonly #opened: { close(): unknown }[] = [];

  async bind(handler: CallHandler, options: Partial<BindOptions> = {}): Promise<Peer> {
    const peer = await Peer.bind({ address: 'tcp://127.0.0.1:0', serializer: msgpack, handler, ...options });
    return this.add(peer);
  }

  async connect(server: Peer, options: Partial<ConnectOptions> = {}): Promise<Peer> {
    const handshakeTimeoutMs = 20_000;
    return this.add(
      await Peer.connect({ address: server.endpoint, serializer: msgpack, handshakeTimeoutMs, ...options }),
    );
  }

  /** A raw socket; what it receives comes within 20 s or never. */
  dealer(server: Peer, options: ConstructorParameters<typeof Dealer>[0] = {}): Dealer {
    const socket = this.add(new Dealer({ linger: 0, receiveTimeout: 20_000, ...options }));
    socket.connect(server.endpoint);
    return socket;
  }

  add<Part extends { close(): unknown }>(part: Part): Part {
    this.#opened.push(part);
    return part;
  }

  async close(): Promise<void> {
    for (const part of this.#opened.splice(0).reverse()) await part.close();
  }
}

export const echo = (call: IncomingCall): Promise<unknown> => Promise.resolve(call.body);

/** Never ends by itself; gives in when its signal aborts. */
export const patient = ({ signal }: IncomingCall): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });

export async function sendMessage(socket: Dealer, message: Message): Promise<void> {
  const { header, body } = encodeMessage(message);
  await socket.send(['UPPER', header, body]);
}

export async function receiveMessage(socket: Dealer): Promise<Message> {
  const [type, header, body] = await socket.receive();
  expect(type?.toString()).toBe('UPPER');
  const decoded = decodeMessage(header ?? Buffer.alloc(0), body ?? Buffer.alloc(0), {
    maxBodyBytes: 64 << 20,
  });
  if (!decoded.ok) throw new Error(decoded.fault);
  return decoded.message;
}

/** Everything the server still had to send on this socket, up to its answer to a PING. */
export async function receiveUntilPong(socket: Dealer): Promise<readonly (readonly Buffer[])[]> {
  const sentinel = `sentinel-${String(performance.now())}`;
  await socket.send(['PING', '', sentinel]);
  const received: (readonly Buffer[])[] = [];
  for (;;) {
    const frames = await socket.receive();
    if (frames.at(-3)?.toString() === 'PONG' && frames.at(-1)?.toString() === sentinel) return received;
    received.push(frames);
  }
}
