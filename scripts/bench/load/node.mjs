// The Node load generator: raw DEALER sockets and frames made in advance, so that what it costs is small and equal for every
// server. Takes jobs as JSON lines:
//   {kind: 'connect', seconds}                                   -> {connectMs: [...]}
//   {kind: 'calls', seconds, connections, window, bodyBytes}     -> {calls, seconds, latencyMs: [...] (window 1 only)}
// each with {address, curve: {serverPublicKey, publicKey, secretKey}}. `window` is of all connections together.
import { Packr, unpack } from 'msgpackr';
import { Dealer } from 'zeromq';
import { serveLines } from '../child.mjs';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const FUNCTION = 1;
const RESULT = 2;
const FIRST_CALLS = 50;
const NO_ORDER_KEY = Buffer.alloc(0);

function open({ address, curve }) {
  const socket = new Dealer({ linger: 0, sendHighWaterMark: 2000, receiveHighWaterMark: 2000 });
  socket.curveServerKey = curve.serverPublicKey;
  socket.curvePublicKey = curve.publicKey;
  socket.curveSecretKey = curve.secretKey;
  socket.connect(address);
  return socket;
}

async function shakeHands(socket) {
  await socket.send(['PING', '', '']);
  const [type] = await socket.receive();
  if (type.toString() !== 'PONG') throw new Error('the answer to PING is not PONG');
}

const headerOf = (seq) => packr.pack({ type: FUNCTION, meth: 'ping', okey: NO_ORDER_KEY, seq, zip: false });

function bodyOf(bytes) {
  const message = bytes === 0 ? 'hello' : Buffer.alloc(bytes, 'x');
  const payload = packr.pack({ args: [message], kwargs: {} });
  return packr.pack({ meta: Buffer.alloc(0), body: payload });
}

/** Checked once a job; every other answer only for its type and number, so that checking costs next to nothing. */
function checkAnswer(frames, bodyBytes) {
  const echoed = unpack(unpack(frames[2]).body);
  if (bodyBytes === 0 ? echoed !== 'hello' : echoed.length !== bodyBytes)
    throw new Error('the answer is not the argument');
}

async function connect(job) {
  const connectMs = [];
  const until = performance.now() + job.seconds * 1000;
  while (performance.now() < until) {
    const began = performance.now();
    const socket = open(job);
    await shakeHands(socket);
    await socket.send(['UPPER', headerOf(0), bodyOf(0)]);
    checkAnswer(await socket.receive(), 0);
    connectMs.push(performance.now() - began);
    socket.close();
  }
  return { connectMs };
}

async function calls(job) {
  const { seconds, connections, window, bodyBytes } = job;
  const sockets = Array.from({ length: connections }, () => open(job));
  await Promise.all(sockets.map(shakeHands));
  const body = bodyOf(bodyBytes);
  const share = Math.max(1, Math.floor(window / connections));
  const headers = Array.from({ length: share }, (_, seq) => headerOf(seq));
  const latencyMs = [];
  let count = 0;
  let until = Infinity;

  // Numbers are used again once they are answered: an answer frees its header for the next call.
  const drive = async (socket) => {
    let sentMs = performance.now();
    let underWay = share;
    for (const header of headers) await socket.send(['UPPER', header, body]);
    while (underWay > 0) {
      const frames = await socket.receive();
      const now = performance.now();
      const { type, seq } = unpack(frames[1]);
      if (type !== RESULT || seq >= share) throw new Error(`an answer of type ${type} to call ${seq}`);
      count += 1;
      if (window === 1) latencyMs.push(now - sentMs);
      if (now >= until) {
        underWay -= 1;
        continue;
      }
      sentMs = performance.now();
      await socket.send(['UPPER', headers[seq], body]);
    }
  };
  for (let call = 0; call < FIRST_CALLS / connections; call++) {
    await sockets[0].send(['UPPER', headers[0], body]);
    checkAnswer(await sockets[0].receive(), bodyBytes);
    count += 1;
  }
  const began = performance.now();
  const before = count;
  until = began + seconds * 1000;
  await Promise.all(sockets.map(drive));
  const took = (performance.now() - began) / 1000;
  for (const socket of sockets) socket.close();
  return { calls: count, timedCalls: count - before, seconds: took, latencyMs };
}

await serveLines((job) => (job.kind === 'connect' ? connect(job) : calls(job)));
