import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { join } from 'node:path';
import { createDirectories, probeConfig } from '../../../src/config/index.js';
import { loadIn, withDirectory } from './config-file.js';

/** Listens while the function runs; hands out the port. */
async function withServer<T>(server: Server, use: (port: number) => Promise<T>, path?: string): Promise<T> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  try {
    return await use(path === undefined ? (server.address() as AddressInfo).port : 0);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A free port below those that the kernel gives away by itself, so that nobody takes it in between. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_240 + Math.floor(Math.random() * 15_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => {
        resolve(false);
      });
      server.listen(port, '127.0.0.1', () =>
        server.close(() => {
          resolve(true);
        }),
      );
    });
    if (free) return port;
  }
}

const fileOf = (rpcPort: number, kernelPort: number, more = '', backend = 'process'): string => `[agent]
backend = "${backend}"
rpc-listen-addr = "127.0.0.1:${String(rpcPort)}"
${more}
[container]
bind-host = "127.0.0.1"
port-range = [${String(kernelPort)}, ${String(kernelPort)}]
scratch-root = "scratches"
[splenium]
state-dir = "state"
`;

const DEADLINE = { timeoutMs: 20_000 };

describe('a look at the machine', () => {
  test('all is well: ports free, directories can be made, and nothing is made', async () => {
    await withDirectory(async (directory) => {
      const { config } = await loadIn(directory, fileOf(await freePort(), await freePort()));
      for (const message of ['missing; can be made', 'writable (']) {
        const findings = await probeConfig(config, DEADLINE);
        expect(findings.filter(({ ok }) => !ok)).toEqual([]);
        expect(findings.filter(({ check }) => check === 'port')).toHaveLength(2);
        expect(findings.filter(({ check }) => check === 'directory').map((found) => found.message)).toEqual([
          expect.stringContaining(message),
          expect.stringContaining(message),
        ]);
        await createDirectories(config);
      }
    });
  });

  test('a port that somebody has', async () => {
    await withDirectory((directory) =>
      withServer(createServer(), async (port) => {
        const { config } = await loadIn(directory, fileOf(port, await freePort()));
        expect(await probeConfig(config, DEADLINE)).toContainEqual({
          check: 'port',
          target: `127.0.0.1:${String(port)}`,
          ok: false,
          message: 'in use; wanted for agent.rpc-listen-addr; is the daemon running?',
        });
      }),
    );
  });

  test('a kernel port that somebody has', async () => {
    await withDirectory((directory) =>
      withServer(createServer(), async (port) => {
        const { config } = await loadIn(directory, fileOf(await freePort(), port));
        expect(await probeConfig(config, DEADLINE)).toContainEqual(
          expect.objectContaining({ ok: false, message: `1 of 1 not free: ${String(port)}` }),
        );
      }),
    );
  });

  test('a file where a directory should be', async () => {
    await withDirectory(async (directory) => {
      await writeFile(join(directory, 'state'), '');
      const { config } = await loadIn(directory, fileOf(await freePort(), await freePort()));
      expect(await probeConfig(config, DEADLINE)).toContainEqual(
        expect.objectContaining({
          target: join(directory, 'state'),
          ok: false,
          message: expect.stringContaining('is not a directory') as string,
        }),
      );
    });
  });

  test('etcd and Redis, there and not there', async () => {
    await withDirectory((directory) =>
      withServer(createServer(), async (there) => {
        const gone = await freePort();
        const text = `${fileOf(await freePort(), await freePort())}[etcd]\naddr = ["127.0.0.1:${String(there)}", "127.0.0.1:${String(gone)}"]\n`;
        const [bare, local] = [
          await loadIn(directory, text),
          await loadIn(directory, `${text}[redis]\naddr = "127.0.0.1:${String(gone)}"\n`),
        ];
        expect(
          (await probeConfig(bare.config, DEADLINE)).filter(({ check }) => check !== 'port'),
        ).toMatchObject([
          { check: 'etcd', ok: true },
          { check: 'etcd', ok: false, message: expect.stringContaining('ECONNREFUSED') as string },
          { check: 'directory' },
          { check: 'directory' },
          { check: 'redis', target: 'config/redis', ok: true },
        ]);
        expect(await probeConfig(local.config, DEADLINE)).toContainEqual(
          expect.objectContaining({ check: 'redis', ok: false }),
        );
      }),
    );
  });

  test('Docker, answering and not there', async () => {
    await withDirectory(async (directory) => {
      const socket = join(directory, 'd.sock');
      const { config } = await loadIn(directory, fileOf(await freePort(), await freePort(), '', 'docker'));
      const env = { DOCKER_HOST: `unix://${socket}` };
      const probe = async () =>
        (await probeConfig(config, { ...DEADLINE, env })).find(({ check }) => check === 'docker');
      expect(await probe()).toMatchObject({
        ok: false,
        message: expect.stringContaining('ENOENT') as string,
      });
      const engine = createHttpServer((_request, response) => response.end('OK'));
      await withServer(
        engine,
        async () => {
          expect(await probe()).toEqual({
            check: 'docker',
            target: `unix://${socket}`,
            ok: true,
            message: 'the engine answers with 200',
          });
        },
        socket,
      );
    });
  });

  test('with Docker the ports of the metadata server and of the agent sockets have to be free, too', async () => {
    await withDirectory(async (directory) => {
      const [metadata, socket] = [await freePort(), await freePort()];
      const more = `metadata-server-bind-host = "127.0.0.1"\nmetadata-server-port = ${String(metadata)}\nagent-sock-port = ${String(socket)}`;
      const { config } = await loadIn(directory, fileOf(await freePort(), await freePort(), more, 'docker'));
      const server = createServer().listen(metadata, '127.0.0.1');
      await once(server, 'listening');
      try {
        const findings = await probeConfig(config, DEADLINE);
        expect(findings).toContainEqual({
          check: 'port',
          target: `127.0.0.1:${String(metadata)}`,
          ok: false,
          message: 'in use; wanted for agent.metadata-server-port; is the daemon running?',
        });
        expect(findings).toContainEqual({
          check: 'port',
          target: `127.0.0.1:${String(socket)}`,
          ok: true,
          message: 'free for agent.agent-sock-port',
        });
      } finally {
        server.close();
      }
    });
  });

  test('key files: open to others, closed, and a directory without any', async () => {
    await withDirectory(async (directory) => {
      const secret = join(directory, 'agent.key_secret');
      await writeFile(secret, '');
      await mkdir(join(directory, 'managers'));
      const more = `rpc-auth-agent-keypair = "agent.key_secret"`;
      const text = `${fileOf(await freePort(), await freePort(), more)}accepted-manager-keys = "managers"\n`;
      const { config } = await loadIn(directory, text);
      const probe = async () =>
        (await probeConfig(config, DEADLINE)).filter(({ check }) => check === 'key-file');
      await chmod(secret, 0o644);
      expect(await probe()).toMatchObject([
        { ok: false, message: 'others have access (mode 0644); set it to 0600' },
        { ok: false, message: 'holds no .key file' },
      ]);
      await chmod(secret, 0o600);
      await writeFile(join(directory, 'managers', 'one.key'), '');
      expect(await probe()).toMatchObject([
        { ok: true, message: 'readable by its owner alone' },
        { ok: true, message: '1 key file(s)' },
      ]);
    });
  });
});
