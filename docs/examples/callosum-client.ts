// Calls `greet` of callosum-server.ts. Arguments: address, public key file of the server, own secret key file, name.
import { Peer, readPublicKeyFile, readSecretKeyFile } from 'splenium/callosum';
import { createCodec } from 'splenium/codec';

const [address = 'tcp://127.0.0.1:6001', serverFile = 'server.key', ownFile = 'client.key_secret', name] =
  process.argv.slice(2);

const client = await Peer.connect({
  address,
  serializer: createCodec(),
  curve: { ...(await readSecretKeyFile(ownFile)), serverPublicKey: await readPublicKeyFile(serverFile) },
});
try {
  const answer = await client.invoke(
    'greet',
    { args: name === undefined ? [] : [name], kwargs: {} },
    { timeoutMs: 10_000 },
  );
  process.stdout.write(`${String(answer)}\n`);
} finally {
  await client.close();
}
