import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TestDaemon } from '../../support/daemon.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');

/** A project of somebody else with the package as npm would publish it, and nothing of ours besides. */
let project: string;
let packed: readonly string[];

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'splenium-package-'));
  const { code, out, err } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], ROOT);
  if (code !== 0) throw new Error(err);
  const [report] = JSON.parse(out) as readonly { readonly files: readonly { readonly path: string }[] }[];
  packed = (report?.files ?? []).map(({ path }) => path);
  const installed = join(project, 'node_modules/splenium');
  for (const file of packed) {
    await mkdir(dirname(join(installed, file)), { recursive: true });
    await cp(join(ROOT, file), join(installed, file));
  }
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  // Only what a user of the package gets; the types are those of the user's own Node.js.
  for (const name of [...Object.keys(dependencies), '@types/node']) await link(name);
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'ES2023',
        module: 'NodeNext',
        types: ['node'],
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: true,
      },
      include: ['*.ts'],
    }),
  );
}, 120_000);
afterAll(async () => {
  await rm(project, { recursive: true, force: true });
});

async function link(name: string): Promise<void> {
  await mkdir(dirname(join(project, 'node_modules', name)), { recursive: true });
  await symlink(join(ROOT, 'node_modules', name), join(project, 'node_modules', name));
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function run(command: string, argv: readonly string[], cwd = project): Promise<Ended> {
  const child = spawn(command, argv, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
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

const node = (script: string): Promise<Ended> => run(process.execPath, ['--input-type=module', '-e', script]);

test('it holds the program, the kernel runner and samples, and nothing of the workshop', () => {
  for (const file of [
    'dist/main.js',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/kernel-runner.mjs',
    'dist/kernel-entrypoint.mjs',
    'etc/agent.toml',
    'etc/splenium.service',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
  ])
    expect(packed).toContain(file);
  expect(packed.filter((file) => /^(src|tests|scripts)\/|tsbuildinfo|\.test\./.test(file))).toEqual([]);
});

test('every entry gives its values', async () => {
  const { code, out, err } = await node(`
    const names = {};
    for (const entry of ['splenium', 'splenium/callosum', 'splenium/codec'])
      names[entry] = Object.entries(await import(entry)).filter(([, value]) => value !== undefined).map(([name]) => name);
    console.log(JSON.stringify(names));
  `);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const names = JSON.parse(out) as Readonly<Record<string, readonly string[]>>;
  expect(names['splenium']).toEqual(
    expect.arrayContaining([
      'AgentClient',
      'Peer',
      'findLocalDaemon',
      'loadConfig',
      'writeKeyFiles',
      'METHODS',
    ]),
  );
  expect(names['splenium/callosum']).toEqual(
    expect.arrayContaining(['Peer', 'Publisher', 'Subscriber', 'AcceptedKeysDirectory', 'generateKeyPair']),
  );
  expect(names['splenium/codec']).toEqual(expect.arrayContaining(['createCodec', 'Uuid', 'ImageRef']));
}, 60_000);

test('a class is the same whichever entry it comes from', async () => {
  const { out } = await node(`
    const [all, callosum, codec] = await Promise.all(['', '/callosum', '/codec'].map((name) => import('splenium' + name)));
    console.log(all.Peer === callosum.Peer && all.Uuid === codec.Uuid);
  `);
  expect(out.trim()).toBe('true');
}, 60_000);

test('what is not an entry cannot be imported; package.json can be read', async () => {
  const { out } = await node(`
    const refused = await import('splenium/dist/daemon/daemon.js').catch(({ code }) => code);
    const { default: { name } } = await import('splenium/package.json', { with: { type: 'json' } });
    console.log(refused, name);
  `);
  expect(out.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED splenium');
}, 60_000);

test('its command runs', async () => {
  const { code, out } = await run(process.execPath, ['node_modules/splenium/dist/main.js', 'version']);
  expect(code).toBe(0);
  expect(out).toMatch(/^splenium \d+\.\d+\.\d+ \(Node\.js /);
}, 60_000);

describe('with types', () => {
  beforeAll(async () => {
    for (const name of ['agent-client', 'local-daemon', 'callosum-server', 'callosum-client'])
      await cp(join(ROOT, `docs/examples/${name}.ts`), join(project, `${name}.ts`));
    await cp(join(ROOT, 'docs/examples/device-plugin/src/index.ts'), join(project, 'device-plugin.ts'));
    await writeFile(
      join(project, 'misuse.ts'),
      [
        "import { AgentClient, type ResultOf, type RunEvent, type DaemonConfig, type KeyPair } from 'splenium';",
        "import type { Serializer } from 'splenium/callosum';",
        "import { createCodec, type Codec } from 'splenium/codec';",
        'export const serializer: Serializer = createCodec() satisfies Codec;',
        'export type Kernel = ResultOf<"list_kernels">[number];',
        'export const id = (kernel: Kernel): string => kernel.kernel_id;',
        'export const port = (config: DaemonConfig): number => config.rpc.listen.port;',
        'export const key = (pair: KeyPair): string => pair.publicKey;',
        'export const texts = (event: RunEvent): string => (event.type === "stdout" ? event.text : "");',
        "const client = new AgentClient({ address: 'tcp://127.0.0.1:6001' });",
        '// @ts-expect-error no such function',
        "await client.call('pong', {});",
        '// @ts-expect-error a required argument is missing',
        "await client.call('check_running', {});",
        '// @ts-expect-error of another type',
        "await client.call('check_running', { kernel_id: 7 });",
        '',
      ].join('\n'),
    );
    const { code, out } = await run(process.execPath, [TSC, '-p', '.']);
    if (code !== 0) throw new Error(out);
  }, 120_000);

  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await TestDaemon.start();
  }, 90_000);
  afterAll(async () => {
    await daemon.dispose();
  }, 90_000);

  const keyFiles = (): readonly string[] =>
    ['agent.key', 'manager.key_secret'].map((name) => join(daemon.directory, 'keys', name));

  test('the client of the documentation runs code in a kernel and leaves nothing', async () => {
    const script = 'name=Ada; echo "hello $name"; echo oops >&2; (exit 3)';
    const argv = ['agent-client.js', daemon.address, ...keyFiles(), 'i-two', script];
    expect(await run(process.execPath, argv)).toEqual({ code: 3, out: 'hello Ada\n', err: 'oops\n' });
    const client = daemon.client();
    expect(await client.listKernels()).toEqual([]);
    await client.close();
  }, 90_000);

  test('the example for a daemon of this machine shows its agents; without a daemon it says so', async () => {
    const shown = await run(process.execPath, ['local-daemon.js', daemon.stateDirectory]);
    expect({ code: shown.code, err: shown.err }).toEqual({ code: 0, err: '' });
    expect(shown.out).toMatch(/^i-one \(process \d+\): free cpu \d+\/\d+, mem \d+\/\d+$/m);
    expect(shown.out).toMatch(/^i-two /m);

    const nobody = await run(process.execPath, ['local-daemon.js', project]);
    expect({ code: nobody.code, out: nobody.out }).toEqual({ code: 1, out: '' });
    expect(nobody.err).toMatch(/^LOCAL_DAEMON_NOT_FOUND: /);
  }, 90_000);
});
