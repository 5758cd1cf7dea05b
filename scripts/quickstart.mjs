// Drives a running daemon as a manager would: over CURVE, with the client of this package. Called by scripts/quickstart.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { AgentClient, readPublicKeyFile, readSecretKeyFile } from '../dist/index.js';
import { findLocalDaemon } from '../dist/client/local-daemon.js';

const [directory] = process.argv.slice(2);
const say = (title) => process.stdout.write(`\n== ${title}\n`);
const show = (text) => process.stdout.write(text);

// The address is read from the daemon's state; the keys are the manager's own, as an operator would hand them out.
const { target } = await findLocalDaemon(join(directory, 'daemon'));
const manager = await readSecretKeyFile(join(directory, 'keys', 'manager.key_secret'));
const serverPublicKey = await readPublicKeyFile(join(directory, 'keys', 'agent.key'));
const node = new AgentClient({ address: target.address, curve: { ...manager, serverPublicKey } });
const one = node.withAgent('i-one');
const two = node.withAgent('i-two');

const python = spawnSync('sh', ['-c', 'command -v python3']).stdout.toString().trim();
const language = python === '' ? 'shell' : 'python';
const labels =
  language === 'python'
    ? { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': python }
    : { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' };
const code =
  language === 'python'
    ? {
        print:
          'import sys\nfor i in range(3):\n    print("line", i)\nprint("and to stderr", file=sys.stderr)\n',
        remember: 'answer = 6 * 7',
        recall: 'print("the kernel remembers:", answer)',
        ask: 'name = input("Who are you? ")\nprint("Hello,", name)',
        fail: 'raise ValueError("a mistake on purpose")',
      }
    : {
        print: 'for i in 0 1 2; do echo line $i; done; echo and to stderr >&2',
        remember: 'answer=42',
        recall: 'echo the kernel remembers: $answer',
        // A shell kernel's code reads nothing: its standard input is empty.
        ask: undefined,
        fail: 'echo a mistake on purpose >&2; false',
      };

say('Calling both agents: ping and hardware information');
show(`${await one.ping('hello, i-one')}\n${await two.ping('hello, i-two')}\n`);
show(`hardware of accelerators: ${JSON.stringify(await one.call('gather_hwinfo', {}))}\n`);

say(`Creating a kernel on each agent (${language})`);
const create = (agent) =>
  agent.createKernel({
    image: `local/${language}:quickstart`,
    labels,
    resourceSlots: { cpu: '1', mem: String(128 * 1024 ** 2) },
  });
let [first, second] = [undefined, undefined];
try {
  first = await create(one);
  show(`i-one runs ${first.kernelId}\n`);
  // A machine with a single core has nothing left for a second kernel: in mode "shared" agents draw on one pool.
  second = await create(two).catch((error) => {
    show(`i-two cannot: ${error.message}\n`);
    return undefined;
  });
  if (second) show(`i-two runs ${second.kernelId}\n`);

  say('Code that prints, as it comes');
  await run(first, code.print);
  say('State survives from one run to the next');
  await run(first, code.remember);
  await run(first, code.recall);
  if (code.ask !== undefined) {
    say('Code that asks (the answer is sent over the wire)');
    await run(first, code.ask, 'Ada');
  }
  say('Code that fails');
  await run(first, code.fail);

  say('Files: upload, list, download');
  await one.uploadFile(first.kernelId, 'notes/hello.txt', Buffer.from('kept in the kernel\n'));
  const { files } = await one.call('list_files', { kernel_id: first.kernelId, path: 'notes' });
  for (const { mode, size, filename } of JSON.parse(files)) show(`${mode} ${size} ${filename}\n`);
  show(Buffer.from(await one.downloadFile(first.kernelId, 'notes/hello.txt')).toString());

  say('The kernels of both agents, through the aggregate registry');
  for (const kernel of await node.listKernels())
    show(`${kernel.agent_id}  ${kernel.kernel_id}  ${kernel.state}  ${kernel.image}\n`);

  say('Destroying the first; the other still answers');
  await one.destroyKernel(first);
  first = undefined;
  if (second) await run(second, language === 'python' ? 'print("still here")' : 'echo still here');
  for (const kernel of await node.listKernels())
    show(`${kernel.agent_id}  ${kernel.kernel_id}  ${kernel.state}\n`);
} finally {
  if (first) await one.destroyKernel(first);
  if (second) await two.destroyKernel(second);
  await node.close();
}

/** Streams the console output of one run and says how it ended. */
async function run(kernel, text, answer) {
  const agent = kernel === first ? one : two;
  for (const line of text.trimEnd().split('\n')) show(`> ${line}\n`);
  const events = agent.run({
    kernelId: kernel.kernelId,
    sessionId: kernel.sessionId,
    code: text,
    ...(answer !== undefined && { onInput: async () => answer }),
  });
  for await (const event of events) {
    if (event.type === 'stdout') show(event.text);
    else if (event.type === 'stderr') show(`(stderr) ${event.text}`);
    else if (event.type === 'end') show(`[exit code ${event.exitCode ?? 0}]\n`);
  }
}
