import { connect as connectTcp } from 'node:net';
import type { Dealer } from 'zeromq';
import { generateKeyPair } from '../../src/callosum/index.js';
import type { Peer } from '../../src/callosum/index.js';
import { readFrames } from '../../src/callosum/wire/frames.js';
import { decodeMessage } from '../../src/callosum/wire/message.js';
import { createCodec } from '../../src/codec/index.js';
import { echo, PeerBench, receiveUntilPong } from '../support/callosum-peers.js';
import { PythonScript } from '../support/python.js';
import { CALLOSUM_PYTHON, requirement } from '../support/requirements.js';
import { goldenFrames, INPUTS, SEED } from './inputs.js';
import type { Frames } from './inputs.js';
import { mutateSome } from './mutations.js';
import { Random } from './random.js';

const BATCHES = 10;
/** Inputs under way at once; fewer than the server lets one caller have in flight. */
const WINDOW = 250;
const MAX_MESSAGE_BYTES = 1 << 20;
/** Memory may breathe, but not grow with the number of inputs. */
const MAX_GROWTH_BYTES = 400 << 20;

const python = process.env[CALLOSUM_PYTHON.variable] ?? '';
const withPython = requirement(
  `${CALLOSUM_PYTHON.what}, named by ${CALLOSUM_PYTHON.variable}: probes`,
  python !== '',
);

const serverKeys = generateKeyPair();
const clientKeys = generateKeyPair();
const bench = new PeerBench();
const golden = goldenFrames();
const others = golden.flat().filter((frame) => frame.length > 0);

afterEach(() => bench.close());

/** What a client may send instead of a golden message. */
function nextInput(random: Random): Frames {
  const frames = [...random.oneOf(golden)];
  switch (random.below(12)) {
    case 0:
      return frames;
    case 1:
      frames.splice(random.below(frames.length), 1);
      return frames.length > 0 ? frames : [Buffer.alloc(0)];
    case 2:
      frames.splice(random.below(frames.length + 1), 0, random.oneOf(others));
      return frames;
    case 3:
      return ['PING', 'PONG', 'LOWER', 'upper', 'UPPER']
        .slice(random.below(5))
        .map((text) => Buffer.from(text));
    case 4:
      return [Buffer.from('PING'), random.bytes(random.below(50)), random.bytes(random.below(50))];
    default: {
      // The frame type is only mutated now and then: most changes should get past it.
      const at =
        frames.length === 3 && random.below(10) > 0 ? 1 + random.below(2) : random.below(frames.length);
      frames[at] = mutateSome(frames[at] ?? Buffer.alloc(0), others, random);
      return frames;
    }
  }
}

/** Does the server owe an answer? PING gets its PONG, a FUNCTION whose header can be read gets exactly one reply. */
function isOwed(frames: Frames): boolean {
  const incoming = readFrames([Buffer.alloc(5), ...frames]);
  if (incoming.kind !== 'upper') return incoming.kind === 'ping';
  const decoded = decodeMessage(incoming.header, incoming.body, { maxBodyBytes: MAX_MESSAGE_BYTES });
  return decoded.ok ? decoded.message.type === 'FUNCTION' : decoded.request !== undefined;
}

async function expectAnswered(socket: Dealer, random: Random, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += WINDOW) {
    const inputs = Array.from({ length: Math.min(WINDOW, count - sent) }, () => nextInput(random));
    for (const frames of inputs) await socket.send([...frames]);
    const answers = await receiveUntilPong(socket);
    expect(answers.length).toBe(inputs.filter(isOwed).length);
  }
}

/** A Python client, or ours where there is none, connects anew and is answered. */
class Prober {
  readonly #server: Peer;
  readonly #curve: boolean;
  readonly #script: PythonScript | undefined;

  constructor(server: Peer, curve: boolean) {
    this.#server = server;
    this.#curve = curve;
    if (withPython) this.#script = new PythonScript(python, 'callosum_prober.py', this.#spec());
  }

  async probe(): Promise<void> {
    if (!this.#script) {
      const curve = this.#curve ? { curve: { ...clientKeys, serverPublicKey: serverKeys.publicKey } } : {};
      const client = await bench.connect(this.#server, curve);
      await expect(client.invoke('echo', 1)).resolves.toBe(1);
      await client.close();
      return;
    }
    await expect(this.#script.next()).resolves.toEqual({ result: { args: [1], kwargs: {} } });
    this.#script.write(this.#spec());
  }

  async close(): Promise<void> {
    await this.#script?.end();
  }

  #spec(): unknown {
    const curve = {
      server_public_key: serverKeys.publicKey,
      public_key: clientKeys.publicKey,
      secret_key: clientKeys.secretKey,
    };
    return { address: this.#server.endpoint, ...(this.#curve ? { curve } : {}) };
  }
}

describe.each([
  ['NULL', false],
  ['CURVE', true],
])('over %s', (_mechanism, curve) => {
  const bind = () =>
    bench.bind(echo, {
      serializer: createCodec(),
      limits: { maxMessageBytes: MAX_MESSAGE_BYTES },
      ...(curve
        ? { curve: { secretKey: serverKeys.secretKey, acceptedKeys: new Set([clientKeys.publicKey]) } }
        : {}),
    });
  const keys = curve
    ? {
        curveServerKey: serverKeys.publicKey,
        curvePublicKey: clientKeys.publicKey,
        curveSecretKey: clientKeys.secretKey,
      }
    : {};

  test(
    `${String(Math.ceil(INPUTS / 2))} messages are answered, each that is owed an answer exactly once, and Python still is`,
    async () => {
      const server = await bind();
      const prober = new Prober(server, curve);
      const socket = bench.dealer(server, keys);
      const random = new Random(SEED);
      let before = 0;
      for (let batch = 0; batch < BATCHES; batch++) {
        await expectAnswered(socket, random, Math.ceil(INPUTS / 2 / BATCHES));
        await prober.probe();
        // The first batches warm up: compiled code, pools, heap.
        if (batch === 1) before = process.memoryUsage().rss;
      }
      await prober.close();
      expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
      expect(server.inFlight).toBe(0);
    },
    Math.max(60_000, INPUTS * 5),
  );

  test('connections that do not speak ZeroMQ, or only nearly, end alone', async () => {
    const server = await bind();
    const random = new Random(SEED);
    const port = Number(server.endpoint.split(':').at(-1));
    const greeting = Buffer.alloc(64);
    Buffer.from('ff00000000000000017f0300', 'hex').copy(greeting);
    greeting.write(curve ? 'CURVE' : 'NULL', 12);
    const ready = Buffer.from(
      '041a055245414459 0b536f636b65742d54797065 00000006 4445414c4552'.replaceAll(' ', ''),
      'hex',
    );
    for (let i = 0; i < 200; i++)
      await new Promise<void>((resolve) => {
        const tcp = connectTcp(port, '127.0.0.1');
        tcp
          .on('error', () => undefined)
          .once('close', () => {
            resolve();
          });
        const bytes = Buffer.concat([greeting, ready, random.bytes(random.below(100))]);
        // Reads nothing; ends by itself when everything is written.
        tcp.end(random.below(4) === 0 ? random.bytes(200) : mutateSome(bytes, others, random));
        tcp.resume();
      });
    const prober = new Prober(server, curve);
    await prober.probe();
    await prober.close();
  });
});
