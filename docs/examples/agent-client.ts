// Runs code in a kernel of its own, as a manager would, and shows what it writes as it comes.
// Arguments: address, public key file of the daemon, own secret key file, agent id, shell commands.
import { AgentClient, readPublicKeyFile, readSecretKeyFile } from 'splenium';

const [
  address = 'tcp://127.0.0.1:6001',
  serverFile = 'agent.key',
  ownFile = 'manager.key_secret',
  agentId = 'i-one',
  code = 'echo hello',
] = process.argv.slice(2);

const client = new AgentClient({
  address,
  agentId,
  curve: { ...(await readSecretKeyFile(ownFile)), serverPublicKey: await readPublicKeyFile(serverFile) },
});
try {
  const kernel = await client.createKernel({
    image: 'local/shell:1',
    labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' },
    resourceSlots: { cpu: '1', mem: String(64 * 1024 ** 2) },
  });
  try {
    for await (const event of client.run({ ...kernel, code })) {
      if (event.type === 'stdout') process.stdout.write(event.text);
      else if (event.type === 'stderr') process.stderr.write(event.text);
      else if (event.type === 'end') process.exitCode = event.exitCode ?? 0;
    }
  } finally {
    await client.destroyKernel(kernel);
  }
} finally {
  await client.close();
}
