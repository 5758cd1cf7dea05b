import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunnerEvent, RunnerLink } from '../../../src/runner/index.js';
import { eventually } from '../../support/eventually.js';
import { bundleRunner, PATIENCE_MS, query, RunnerProcess, textOf } from '../runner/runner-process.js';

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let runner: RunnerProcess;
let link: RunnerLink;
let events: RunnerEvent[];
let onEvent: () => void = () => undefined;

const SERVER =
  'require("http").createServer((q, s) => s.end(process.env.GREETING || "hi")).listen(+process.argv[1])';

const DEFINITIONS = {
  web: {
    command: [process.execPath, '-e', SERVER, '{ports[0]}'],
    url_template: 'http://{host}:{port}/',
    allowed_envs: ['GREETING', 'PATH'],
    allowed_arguments: ['--flag'],
    env: { 'PREFIX_{ports[0]}': 'x' },
  },
  quick: { command: 'exit 1' },
  late: { command: 'sleep 1; exit 1' },
  nothing: { command: 'true', noop: true },
  unknown_variable: { command: ['echo', '{nobody}'] },
  missing: { command: ['/nonexistent/program'] },
  plain: { command: ['/etc/passwd'] },
};

beforeAll(async () => {
  bundle = await bundleRunner();
  runner = await RunnerProcess.start({
    bundle: bundle.path,
    runtime: 'shell',
    prepare: async ({ serviceDefinitions, work }) => {
      for (const [name, definition] of Object.entries(DEFINITIONS))
        await writeFile(join(serviceDefinitions, `${name}.json`), JSON.stringify(definition));
      await writeFile(join(serviceDefinitions, 'broken.json'), '{"command": 3}');
      await writeFile(join(work, 'bootstrap.sh'), 'echo prepared > prepared; echo noise; exit 3\n');
    },
  });
  events = [];
  link = runner.link({
    onEvent: (event) => {
      events.push(event);
      onEvent();
    },
    limits: { serviceTimeoutMs: PATIENCE_MS },
  });
  await link.waitReady({ timeoutMs: PATIENCE_MS });
});
afterAll(async () => {
  await runner.stop();
  await bundle.remove();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const start = (name: string, port: number, options: Record<string, unknown> = {}, protocol = 'http') =>
  link.startService({ name, port, ports: [port], protocol, options });

test('bootstrap.sh has run before anything is answered, and its failure is only logged', async () => {
  expect(textOf(await query(link, 'cat prepared'), 'stdout')).toBe('prepared\n');
  expect(runner.log).toContain('bootstrap.sh failed');
});

test('a lack of memory that the agent tells of stands in the log, in words', async () => {
  await link.notify('oom');
  await link.notify('other', { x: 1 });
  await eventually(() => {
    expect(runner.log).toContain('the system has killed a process of this kernel for lack of memory');
    expect(runner.log).toMatch(/event.*other/);
  });
});

test('apps are listed with what clients may set; a broken definition is left out and logged', async () => {
  const { apps } = await link.getApps();
  expect(apps.map(({ name }) => name).sort()).toEqual(Object.keys(DEFINITIONS).sort());
  expect(await link.getApps('web')).toEqual({
    status: 'done',
    error: null,
    apps: [
      {
        name: 'web',
        urlTemplate: 'http://{host}:{port}/',
        allowedArguments: ['--flag'],
        allowedEnvs: ['GREETING', 'PATH'],
      },
    ],
  });
  expect((await link.getApps('nobody')).apps).toEqual([]);
  expect(runner.log).toContain('broken.json');
});

test('a service starts, is running, ends and starts again', async () => {
  const port = await freePort();
  const options = { envs: { GREETING: 'bonjour' }, arguments: { '--flag': null } };
  expect(await start('web', port, options)).toEqual({ status: 'started' });
  const response = await fetch(`http://127.0.0.1:${String(port)}/`);
  expect(await response.text()).toBe('bonjour');
  expect(await start('web', port)).toEqual({ status: 'running' });
  await link.shutdownService('web');
  await link.shutdownService('nobody');
  let again = await start('web', port);
  while (again.status === 'running') again = await start('web', port);
  expect(again).toEqual({ status: 'started' });
  await link.shutdownService('web');
});

test.each([
  ['unknown', {}, 'http', 'unsupported service: unknown'],
  ['sshd', {}, 'tcp', 'sshd is not available in this kernel'],
  ['terminal', {}, 'pty', 'not implemented yet'],
  ['quick', {}, 'http', 'the process did not start properly: exit 1'],
  ['missing', {}, 'http', 'the executable file is not found: /nonexistent/program'],
  ['plain', {}, 'http', 'the target file is not executable: /etc/passwd'],
  ['unknown_variable', {}, 'http', "KeyError('nobody')"],
  ['web', { envs: { SECRET: '1' } }, 'http', "DisallowedEnvironment('SECRET')"],
  ['web', { envs: { PATH: '1' } }, 'http', "DisallowedEnvironment('PATH')"],
  ['web', { arguments: { '--evil': null } }, 'http', "DisallowedArgument('--evil')"],
])('%s with %p over %s fails with a reason', async (name, options, protocol, error) => {
  expect(await start(name, await freePort(), options, protocol)).toEqual({ status: 'failed', error });
});

test('preopen and noop services are started without a process', async () => {
  expect(await start('whatever', 1234, {}, 'preopen')).toEqual({ status: 'started' });
  expect(await start('nothing', 1234)).toEqual({ status: 'started' });
});

test('a request without its keys fails with a reason', async () => {
  const request = { name: 'web', port: 1, protocol: 'http', options: {} };
  expect(await link.startService(request as never)).toEqual({ status: 'failed', error: "KeyError('ports')" });
});

test('a late result is not handed to the next call, and shutdown ends a launch', async () => {
  // Opens its port never, so only the shutdown ends the launch.
  await writeFile(join(runner.directory.work, 'x'), '');
  const model = (name: string, command: readonly string[], port: number, health: unknown = null) => ({
    name,
    model_path: runner.directory.work,
    service: { pre_start_actions: [], start_command: command, port, health_check: health },
    metadata: null,
  });
  const port = await freePort();
  expect(await start('web', port, {}, 'http')).toEqual({ status: 'started' });
  expect(
    await link.startService(
      { name: 'late', port: 1, ports: [1], protocol: 'http', options: {} },
      { timeoutMs: 0 },
    ),
  ).toEqual({
    status: 'failed',
    error: 'timeout',
  });
  expect(await start('web', port)).toEqual({ status: 'running' });
  await link.shutdownService('web');

  const healthPort = await freePort();
  const health = {
    interval: 0.05,
    path: '/',
    max_retries: 1000,
    max_wait_time: 5,
    expected_status_code: 200,
  };
  const healthy = new Promise<void>((resolve) => {
    onEvent = resolve;
  });
  const command = [process.execPath, '-e', SERVER, String(healthPort)];
  expect(await link.startModelService(model('m', command, healthPort, health))).toEqual({
    status: 'started',
  });
  await healthy;
  expect(events).toEqual([{ type: 'model-service-status', modelName: 'm', isHealthy: true }]);
  expect(await link.startModelService(model('m', command, healthPort, health))).toEqual({
    status: 'running',
  });
  await link.shutdownService(`m-${String(healthPort)}`);
  expect(await link.startModelService({ name: 'bad', model_path: '/nonexistent', service: null })).toEqual({
    status: 'failed',
    error: 'service failed to start',
  });
});
