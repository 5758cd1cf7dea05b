// Server (b): the least a Node server of this protocol does. One ROUTER with CURVE, msgpackr both ways for header, body and
// payload, no bounds, no checks, one call after another.
import { Packr, unpack } from 'msgpackr';
import { Router } from 'zeromq';
import { serveLines } from '../child.mjs';

const RESULT = 2;
const packr = new Packr({ useRecords: false, variableMapSize: true });
const NO_METADATA = Buffer.of(0x90);

let socket;

async function serve() {
  for await (const [peer, type, header, body] of socket) {
    if (type.toString() === 'PING') {
      await socket.send([peer, 'PONG', header, body]);
      continue;
    }
    const request = unpack(header);
    const { args } = unpack(unpack(body).body);
    const reply = { meta: NO_METADATA, body: packr.pack(args[0]) };
    await socket.send([peer, 'UPPER', packr.pack({ ...request, type: RESULT }), packr.pack(reply)]);
  }
}

await serveLines(async ({ secretKey }) => {
  socket = new Router({ linger: 0 });
  socket.curveServer = true;
  socket.curveSecretKey = secretKey;
  await socket.bind('tcp://127.0.0.1:*');
  void serve();
  return { address: socket.lastEndpoint };
});
socket?.close();
