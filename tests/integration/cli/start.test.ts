import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));

let daemon: TestDaemon | undefined;
afterEach(async () => {
  await daemon?.dispose();
  daemon = undefined;
}, 90_000);

/** The program as an operator starts it, for command lines that end by themselves. */
async function splenium(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, [MAIN, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  await once(child, 'close');
  return { code: child.exitCode, out, err };
}

const single = { agentIds: ['i-alone'], curve: false } as const;
const change = async (path: string, from: string | RegExp, to: string): Promise<void> => {
  await writeFile(path, (await readFile(path, 'utf8')).replace(from, to));
};

test('the pid file stands while the daemon serves, and goes with it', async () => {
  daemon = await TestDaemon.prepare(single);
  const pidFile = join(daemon.directory, 'splenium.pid');
  await change(daemon.configPath, '[agent]\n', `[agent]\npid-file = "${pidFile}"\n`);
  await daemon.resume();
  expect(await readFile(pidFile, 'utf8')).toBe(`${String(daemon.pid)}\n`);

  const second = await splenium(['start', '--config', daemon.configPath]);
  expect(second).toMatchObject({ code: 1, out: '' });
  expect(second.err).toMatch(/^STATE_DIRECTORY_IN_USE: /m);
  expect(await readFile(pidFile, 'utf8')).toBe(`${String(daemon.pid)}\n`);

  expect(await daemon.stop()).toBe(0);
  await expect(stat(pidFile)).rejects.toMatchObject({ code: 'ENOENT' });
}, 120_000);

test('a pid file that cannot be written keeps it from starting: 1, and nothing is left', async () => {
  daemon = await TestDaemon.prepare(single);
  await change(daemon.configPath, '[agent]\n', '[agent]\npid-file = "./nowhere/splenium.pid"\n');
  const { code, out, err } = await splenium(['start', '--config', daemon.configPath]);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(/^RUNTIME: pid file .*nowhere.*change agent\.pid-file/m);
  await expect(stat(join(daemon.stateDirectory, 'endpoint.json'))).rejects.toMatchObject({ code: 'ENOENT' });
}, 120_000);

test('SIGHUP reads the file again: log level and reserve change, the rest waits, a bad file changes nothing', async () => {
  daemon = await TestDaemon.prepare(single);
  await appendFile(daemon.configPath, '\n[logging]\nlevel = "INFO"\n');
  await daemon.resume();
  const running = daemon;
  const hangUp = async (logged: RegExp): Promise<void> => {
    const before = running.log.length;
    process.kill(running.pid, 'SIGHUP');
    await eventually(() => {
      expect(running.log.slice(before)).toMatch(logged);
    });
  };
  await hangUp(/configuration reloaded/);

  const good = await readFile(running.configPath, 'utf8');
  await writeFile(running.configPath, good.replace('"INFO"', '"much"'));
  await hangUp(/configuration not reloaded: everything stays as it is.*agent\.toml:\d+:\d+: logging\.level/s);

  await writeFile(
    running.configPath,
    good
      .replace('"INFO"', '"DEBUG"')
      .replace('reserved-mem = "64M"', 'reserved-mem = "96M"\nmemory-align-size = "32M"'),
  );
  await hangUp(
    /configuration reloaded.*DEBUG.*taken=\["resource\.reserved-mem","logging\.level"\] waitingForRestart=\["resource\.memory-align-size"\]/s,
  );

  await writeFile(running.configPath, good.replace('reserved-mem = "64M"', 'reserved-mem = "1000T"'));
  await hangUp(/configuration not reloaded: everything stays as it is.*Slot mem reserved/s);

  await writeFile(running.configPath, good.replace('"INFO"', '"ERROR"'));
  process.kill(running.pid, 'SIGHUP');
  // At this level the reload itself is silent; what is asked afterwards is still answered.
  const client = running.client();
  expect(await client.ping('alive')).toBe('alive');
  await client.close();
  expect(await running.stop()).toBe(0);
}, 120_000);

/** A daemon of this test's own starting; resolves when it serves. */
async function started(argv: readonly string[]): Promise<{
  end(signal: NodeJS.Signals): Promise<{ readonly code: number | null; readonly log: string }>;
}> {
  const child = spawn(process.execPath, [MAIN, 'start', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const closed = once(child, 'close');
  await Promise.race([
    once(child.stdout, 'data'),
    closed.then(() => {
      throw new Error(`it ended: ${log}`);
    }),
  ]);
  return {
    end: async (signal) => {
      child.kill(signal);
      await closed;
      return { code: child.exitCode, log };
    },
  };
}

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends it with 0',
  async (signal) => {
    daemon = await TestDaemon.prepare(single);
    const { code, log } = await (await started(['--config', daemon.configPath])).end(signal);
    expect(code).toBe(0);
    expect(log).toContain(`received ${signal}`);
  },
  90_000,
);

test('--log-level wins over the file', async () => {
  daemon = await TestDaemon.prepare(single);
  await appendFile(daemon.configPath, '\n[logging]\nlevel = "CRITICAL"\n');
  const quiet = await (await started(['--config', daemon.configPath])).end('SIGTERM');
  expect(quiet).toEqual({ code: 0, log: '' });
  const loud = await (await started(['--config', daemon.configPath, '--log-level', 'info'])).end('SIGTERM');
  expect(loud.code).toBe(0);
  expect(loud.log).toMatch(/INFO.*stopping/);
}, 120_000);

test.each([
  ['an unknown option', ['start', '--fast'], 2, /unknown option/],
  ['an unknown level', ['start', '--log-level', 'loud'], 2, /unknown log level 'loud'/],
  [
    'a file that is not there',
    ['start', '-c', '/nowhere/agent.toml'],
    78,
    /\/nowhere\/agent\.toml: no such file/,
  ],
])('%s ends it before it starts', async (_title, argv, expected, complaint) => {
  const { code, out, err } = await splenium(argv);
  expect({ code, out }).toEqual({ code: expected, out: '' });
  expect(err).toMatch(complaint);
});

test('a configuration with several mistakes: 78, and each of them', async () => {
  daemon = await TestDaemon.prepare(single);
  await change(daemon.configPath, 'backend = "process"', 'backend = "podman"');
  await change(daemon.configPath, 'reserved-mem = "64M"', 'reserved-mem = "much"');
  const { code, err } = await splenium(['start', '--config', daemon.configPath]);
  expect(code).toBe(78);
  expect(err).toMatch(/agent\.toml:\d+:\d+: agent\.backend: /);
  expect(err).toMatch(/agent\.toml:\d+:\d+: resource\.reserved-mem: /);
});

test('an address that is taken: 1, and the address', async () => {
  const first = await TestDaemon.start(single);
  try {
    daemon = await TestDaemon.prepare(single);
    await change(
      daemon.configPath,
      /rpc-listen-addr = ".*"/,
      `rpc-listen-addr = "${first.address.replace('tcp://', '')}"`,
    );
    const { code, err } = await splenium(['start', '--config', daemon.configPath]);
    expect(code).toBe(1);
    expect(err).toContain(`RUNTIME: cannot listen on ${first.address}: `);
  } finally {
    await first.dispose();
  }
}, 120_000);
