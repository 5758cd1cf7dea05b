import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pull, Push } from 'zeromq';
import { CommandRunner } from './command.js';
import { messageOf } from './complaint.js';
import type { Complain } from './complaint.js';
import type { Environment } from './environment.js';
import { currentEnvironment } from './environment.js';
import { jsonPayload, NO_PAYLOAD, RESPONSE } from './messages.js';
import { parseOptions, USAGE, UsageError } from './options.js';
import type { RunnerOptions } from './options.js';
import { Outgoing } from './outgoing.js';
import { OutputSink } from './output.js';
import { PipeMaker } from './pipes.js';
import { ProcessGroups } from './process-groups.js';
import { KernelRunner } from './runner.js';
import { appRuntime } from './runtimes/app.js';
import type { RuntimeParts } from './runtimes/runtime-process.js';
import { nodeRuntime } from './runtimes/node.js';
import { pythonRuntime } from './runtimes/python.js';
import type { Runtime } from './runtimes/runtime.js';
import { ShellRuntime } from './runtimes/shell.js';
import { BUILT_IN, builtInService, portOf } from './services/built-in.js';
import { loadDefinitions } from './services/definition.js';
import { runtimeServices } from './services/runtime-services.js';
import { ServiceBoard } from './services/service-board.js';
import { prepareSsh } from './services/ssh-files.js';
import { TaskQueue } from './tasks.js';
import { BatchInput, InputRequests } from './user-input.js';

/** Largest request; libzmq drops the connection of whoever sends more. */
const MAX_REQUEST_BYTES = 64 << 20;
/** Messages in the socket's own queue are lost when the agent goes away, so it is short: the rest waits here. */
const SOCKET_QUEUE = 64;
const PAUSE_AFTER_ERROR_MS = 100;
const CHILDREN_GRACE_MS = 2000;
const LINGER_MS = 100;

const complain: Complain = (message, facts = {}) => {
  process.stderr.write(`${JSON.stringify({ runner: message, ...facts })}\n`);
};

function makeRuntime(options: RunnerOptions, parts: RuntimeParts): Runtime {
  switch (options.runtime) {
    case 'python':
      return pythonRuntime(options.runtimePath, parts);
    case 'node':
      return nodeRuntime(options.runtimePath, parts);
    case 'shell':
      return new ShellRuntime(options.runtimePath, parts);
    case 'app':
      return appRuntime(parts.sink);
  }
}

/** Opens everything, serves until a signal, closes everything. Resolves with the exit status. */
async function serve(options: RunnerOptions): Promise<number> {
  const { work, config } = options;
  if (!statSync(work, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`--work: ${work} is no directory`);
  const privateDirectory = makePrivateDirectory([tmpdir(), '/dev/shm', work]);
  const replIn = new Pull({ maxMessageSize: MAX_REQUEST_BYTES, linger: 0 });
  const replOut = new Push({ sendHighWaterMark: SOCKET_QUEUE, linger: LINGER_MS });
  await replIn.bind(options.replIn);
  await replOut.bind(options.replOut);

  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });

  const outgoing = new Outgoing((message) => replOut.send(message));
  const sink = new OutputSink(outgoing, { stdout: process.stdout, stderr: process.stderr });
  const groups = new ProcessGroups(privateDirectory);
  const environment = () => currentEnvironment(work, config);
  const pipes = new PipeMaker(privateDirectory);
  const parts: RuntimeParts = { sink, groups, pipes, privateDirectory, work, environment };
  const runtime = makeRuntime(options, parts);
  const inputs = new InputRequests((prompt) => {
    const payload = prompt ? jsonPayload({ is_password: prompt.isPassword }) : NO_PAYLOAD;
    outgoing.post(RESPONSE.waitingInput, payload);
  });
  const batchInput = await BatchInput.open(privateDirectory, inputs, options.runtime === 'python');
  const commands = new CommandRunner(parts);
  const tasks = new TaskQueue({
    outgoing,
    sink,
    runtime,
    commands,
    inputs,
    work,
    kernelId: environment()['BACKENDAI_KERNEL_ID'],
    batchVariables: () => (options.runtime === 'python' ? batchInput.variables(environment()) : {}),
  });
  const hostKey = await sshHostKey(options, environment(), privateDirectory);
  const { helpers } = options;
  const services = new ServiceBoard({
    outgoing,
    groups,
    work,
    environment,
    complain,
    runtimePath: options.runtimePath,
    definitions: loadDefinitions(options.serviceDefinitions, complain),
    builtInServices: (name, port) =>
      helpers === null ? undefined : builtInService(name, port, { directory: helpers, hostKey }),
    runtimeServices: runtimeServices(options.runtime, options.runtimePath),
  });
  const runner = new KernelRunner({ outgoing, tasks, inputs, runtime, services, complain });

  const start = async () => {
    await bootstrap(work, commands);
    for (const service of BUILT_IN) await services.startBuiltIn(service.name, portOf(service, config));
  };
  await Promise.race([start(), stopped]);
  void receive(replIn, runner);
  await stopped;

  replIn.close();
  services.close();
  await groups.endAll(CHILDREN_GRACE_MS);
  await runtime.close();
  batchInput.close();
  outgoing.close();
  replOut.close();
  rmSync(privateDirectory, { recursive: true, force: true });
  return 0;
}

/** In the first place that takes it: an image may lack a directory for temporary files. */
function makePrivateDirectory(places: readonly string[]): string {
  let failure: unknown;
  for (const place of places)
    try {
      return mkdtempSync(join(place, 'kernel-runner-'));
    } catch (error) {
      failure ??= error;
    }
  throw failure;
}

/** The user's own start-up script, before anything is answered (spec/kernel-runner.md 4.3). */
async function bootstrap(work: string, commands: CommandRunner): Promise<void> {
  const script = join(work, 'bootstrap.sh');
  if (!statSync(script, { throwIfNoEntry: false })?.isFile()) return;
  const exitCode = await commands.run(['/bin/sh', script], {});
  if (exitCode !== 0) complain('bootstrap.sh failed', { exitCode });
}

/** Where the SSH server finds its key; null when it is not to run. Trouble with SSH is no reason not to start. */
async function sshHostKey(
  { work, config, helpers }: RunnerOptions,
  environment: Environment,
  privateDirectory: string,
): Promise<string | null> {
  if (helpers === null) return null;
  const server = join(helpers, 'dropbearmulti');
  try {
    return await prepareSsh({
      work,
      config,
      server: existsSync(server) ? server : null,
      madeHostKey: join(privateDirectory, 'ssh_host_key'),
      replicas: environment['BACKENDAI_CLUSTER_REPLICAS'] ?? '',
    });
  } catch (error) {
    complain('SSH is not prepared', { error: messageOf(error) });
    return null;
  }
}

async function receive(socket: Pull, runner: KernelRunner): Promise<void> {
  for (;;) {
    try {
      runner.handle(await socket.receive());
    } catch (error) {
      if (socket.closed) return;
      complain('receiving failed', { error: messageOf(error) });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_ERROR_MS));
    }
  }
}

// The container log may lose its reader, for one when the daemon that started us ends. We go on.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
process.on('SIGHUP', () => undefined);

try {
  process.exitCode = await serve(parseOptions(process.argv.slice(2), existsSync));
  process.exit();
} catch (error) {
  const isUsage = error instanceof UsageError;
  process.stderr.write(`kernel-runner: ${messageOf(error)}\n${isUsage ? `${USAGE}\n` : ''}`);
  process.exit(isUsage ? 2 : 1);
}
