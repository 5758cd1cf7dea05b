// A Callosum server: `greet` for everybody whose CURVE key lies in a directory. Arguments: address, secret key file, directory.
import { AcceptedKeysDirectory, Peer, readSecretKeyFile, UnknownMethodError } from 'splenium/callosum';
import type { IncomingCall } from 'splenium/callosum';
import { createCodec } from 'splenium/codec';

const [address = 'tcp://127.0.0.1:6001', secretFile = 'server.key_secret', directory = 'clients'] =
  process.argv.slice(2);

async function handler({ method, body }: IncomingCall): Promise<string> {
  if (method !== 'greet') throw new UnknownMethodError(method);
  const { args } = body as { readonly args: readonly string[] };
  return `Hello, ${args[0] ?? 'stranger'}!`;
}

const { secretKey } = await readSecretKeyFile(secretFile);
const acceptedKeys = await AcceptedKeysDirectory.open({ directory });
const server = await Peer.bind({
  address,
  serializer: createCodec(),
  handler,
  curve: { secretKey, acceptedKeys },
  deadlines: { defaultMs: 30_000 },
});
process.stdout.write(`${server.endpoint}\n`);
process.once('SIGTERM', () => {
  acceptedKeys.close();
  void server.close({ drainMs: 10_000 });
});
