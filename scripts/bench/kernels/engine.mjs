// The engine's side of the benchmark: an image made on the spot, and kernels made with bare calls.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import { EngineAgent } from '../../../dist/backends/docker/engine-agent.js';
import { systemClock } from '../../../dist/core/clock.js';
import { silentLogger } from '../../../dist/core/logger.js';
import { RunnerLink } from '../../../dist/runner/index.js';

/** Without a registry, as an image that was built here. */
export const IMAGE = 'splenium-bench/shell:1';
const [REPOSITORY, TAG] = ['splenium-bench/shell', '1'];

/** As the backend has it: a connection for each call. */
export const connectTo = (socketPath) =>
  new Docker({ socketPath, host: undefined, agent: new EngineAgent() });

/** A root file system of busybox alone. */
export async function makeImage(docker) {
  const program = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  const tar = pack();
  for (const name of ['bin', 'dev', 'etc', 'home', 'opt', 'proc', 'root', 'sys', 'usr', 'usr/bin', 'var'])
    tar.entry({ name, type: 'directory', mode: 0o755 });
  tar.entry({ name: 'tmp', type: 'directory', mode: 0o1777 });
  tar.entry({ name: 'etc/passwd' }, 'root:x:0:0:root:/root:/bin/sh\n');
  tar.entry({ name: 'etc/group' }, 'root:x:0:\n');
  tar.entry({ name: 'bin/busybox', mode: 0o755 }, readFileSync(realpathSync(program)));
  for (const applet of execFileSync('busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
    if (applet !== 'busybox') tar.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox' });
  tar.finalize();
  let said = '';
  const progress = await docker.importImage(Readable.from(tar), { repo: REPOSITORY, tag: TAG });
  for await (const chunk of progress) said += chunk;
  await docker
    .getImage(`${REPOSITORY}:${TAG}`)
    .inspect()
    .catch((error) => {
      throw new Error(`the image could not be made: ${said}`, { cause: error });
    });
}

/** Makes kernels as a program would that knows the answer: create, start, inspect, and wait for the runner. */
export class BareKernels {
  #docker;
  #directory;
  #template;
  #nextPort;

  /** `template`: inspection of a kernel's container that the daemon has made; `scratch`: its scratch directory. */
  constructor({ docker, directory, template, scratch, firstPort }) {
    this.#docker = docker;
    this.#directory = directory;
    this.#template = { inspection: template, scratch: join(directory, 'template') };
    this.#nextPort = firstPort;
    mkdirSync(directory, { recursive: true });
    cpSync(scratch, this.#template.scratch, { recursive: true });
    this.#template.original = scratch;
  }

  /** Outside of what is measured. */
  prepare() {
    const { inspection, scratch, original } = this.#template;
    const own = join(this.#directory, randomUUID());
    cpSync(scratch, own, { recursive: true });
    const { Config, HostConfig } = inspection;
    const ports = { in: 0, out: 0 };
    const PortBindings = Object.fromEntries(
      Object.entries(HostConfig.PortBindings).map(([inside, bindings]) => {
        const port = this.#nextPort++;
        if (inside === '2000/tcp') ports.in = port;
        if (inside === '2001/tcp') ports.out = port;
        return [inside, bindings.map((binding) => ({ ...binding, HostPort: String(port) }))];
      }),
    );
    const moved = (path) => (path.startsWith(original) ? own + path.slice(original.length) : path);
    return {
      scratch: own,
      ports,
      spec: {
        ...Config,
        name: `bare.${randomUUID()}`,
        // Without the labels that make it a kernel of the daemon.
        Labels: Object.fromEntries(
          Object.entries(Config.Labels).map(([name, value]) => [`bench.${name}`, value]),
        ),
        HostConfig: {
          ...HostConfig,
          PortBindings,
          Mounts: HostConfig.Mounts.map((mount) => ({ ...mount, Source: moved(mount.Source) })),
        },
      },
    };
  }

  /** @returns the container and milliseconds of each part. */
  async create({ spec, ports }, docker = this.#docker) {
    const begin = performance.now();
    const container = await docker.createContainer(spec);
    const created = performance.now();
    await container.start();
    const started = performance.now();
    await container.inspect();
    const running = performance.now();
    const link = RunnerLink.connect({
      kernelId: randomUUID(),
      endpoints: {
        replIn: `tcp://127.0.0.1:${ports.in}`,
        replOut: `tcp://127.0.0.1:${ports.out}`,
      },
      logger: silentLogger,
      clock: systemClock,
    });
    await link.waitReady({ timeoutMs: 60_000 });
    await link.getApps();
    await link.close();
    return {
      container,
      runningMs: running - begin,
      steps: {
        create: created - begin,
        start: started - created,
        inspect: running - started,
        'wait for the runner': performance.now() - running,
      },
    };
  }

  /** As a kernel is ended: asked, waited for, removed. */
  async remove({ container }) {
    const ended = container.wait();
    await container.kill({ signal: 'SIGINT' });
    await ended;
    await container.remove({ force: true, v: true });
  }

  /** One kernel over another connection. */
  over(docker) {
    return {
      create: () => this.create(this.prepare(), docker),
      remove: (kernel) => this.remove(kernel),
    };
  }

  clean() {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
