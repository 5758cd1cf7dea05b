import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { messageOf } from '../../src/core/errors.js';
import { addedTo, contentsOf, type EngineContents, NOTHING_ADDED } from './engine-contents.js';
import { eventually } from './eventually.js';
import { pathOf, requirement } from './requirements.js';

const SCRIPT = fileURLToPath(new URL('../../scripts/docker-engine', import.meta.url));
const run = promisify(execFile);
/** Until an engine has done what it was told: removals that a test did not wait for. */
const PATIENT = { timeoutMs: 60_000 };

/** What `scripts/docker-engine` reads. */
export interface EngineEnvironment {
  /** `false`: containers end with the engine, which may be in a swarm then. */
  readonly SPLENIUM_DOCKER_LIVE_RESTORE?: 'true' | 'false';
}

/** A private engine for one file of tests. It ends with this process if nobody stops it. */
export class DockerEngine {
  readonly directory: string;
  readonly socketPath: string;
  readonly docker: Docker;
  /** Tags that tests have made by themselves. */
  readonly testTags = new Set<string>();

  private constructor(directory: string) {
    this.directory = directory;
    this.socketPath = join(directory, 'docker.sock');
    const place = { socketPath: this.socketPath, host: undefined };
    this.docker = new Docker(place);
  }

  /** @throws Error in the words of `scripts/docker-engine` when none can run here. */
  static async start(env: EngineEnvironment = {}): Promise<DockerEngine> {
    // The sockets' names are short whatever TMPDIR is.
    const directory = await mkdtemp(join(tmpdir().length > 30 ? '/tmp' : tmpdir(), 'spl-de-'));
    try {
      await run('bash', [SCRIPT, 'start', directory, String(process.pid)], {
        timeout: 120_000,
        env: { ...process.env, ...env },
      });
      return new DockerEngine(directory);
    } catch (error) {
      await run('bash', [SCRIPT, 'stop', directory]).catch(() => undefined);
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  async stop(): Promise<void> {
    await run('bash', [SCRIPT, 'stop', this.directory], { timeout: 120_000 });
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Makes an image of what a tar archive holds. */
  async importImage(archive: AsyncIterable<unknown>, name: string): Promise<void> {
    const [repo, tag] = name.split(':');
    this.testTags.add(name);
    const answer = (await this.docker.importImage(Readable.from(archive), {
      repo,
      tag,
    })) as AsyncIterable<Buffer>;
    let text = '';
    for await (const chunk of answer) text += String(chunk);
    await this.docker
      .getImage(name)
      .inspect()
      .catch((error: unknown) => {
        throw new Error(`image ${name}: ${text}`, { cause: error });
      });
  }

  async tagImage(name: string, further: string): Promise<void> {
    const [repo, tag] = further.split(':');
    this.testTags.add(further);
    await this.docker.getImage(name).tag({ repo: repo ?? '', tag: tag ?? '' });
  }

  /** Those that were pulled from a registry of a test. */
  async removeImagesOf(registry: string): Promise<void> {
    for (const { RepoTags } of await this.docker.listImages())
      for (const tag of RepoTags ?? [])
        if (tag.startsWith(`${registry}/`)) await this.docker.getImage(tag).remove({ force: true });
  }

  async pid(): Promise<number> {
    return Number(await readFile(join(this.directory, 'docker.pid'), 'utf8'));
  }

  /** Kills the engine; its containers go on. */
  async kill(): Promise<void> {
    const pid = await this.pid();
    process.kill(pid, 'SIGKILL');
    await eventually(async () => {
      await readFile(`/proc/${String(pid)}/stat`, 'utf8').then(
        (stat) => {
          if (!/\) [ZX] /.test(stat)) throw new Error('the engine is still there');
        },
        () => undefined,
      );
    });
  }

  /** After `kill`, with all that it had. */
  async resume(): Promise<void> {
    await run('bash', [SCRIPT, 'start', this.directory], { timeout: 120_000 });
  }

  /** The process of this machine that a container knows under the pid; null when there is none. */
  async hostPid(containerId: string, inner: number): Promise<number | null> {
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const cgroup = await readFile(`/proc/${name}/cgroup`, 'utf8');
        if (!cgroup.includes(containerId)) continue;
        const status = await readFile(`/proc/${name}/status`, 'utf8');
        const pids = /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.trim().split(/\s+/) ?? [];
        if (Number(pids.at(-1)) === inner && pids.length > 1) return Number(name);
      } catch {
        // It ended meanwhile.
      }
    }
    return null;
  }
}

/** Of the programs that an engine and its images are made of, those that are not installed. */
const missingPrograms = (): readonly string[] =>
  ['dockerd', 'containerd', 'runc', 'busybox'].filter(
    (command) => pathOf({ variable: '', what: command, command }) === '',
  );

/** A busybox of its own, which needs no library. */
function busyboxIsStatic(): boolean {
  try {
    return execFileSync('busybox', ['sh', '-c', 'busybox --help | head -n 1'], { encoding: 'utf8' }) !== '';
  } catch {
    return false;
  }
}

/**
 * Declares tests that need an engine, or skips them aloud; after each the engine has what it had before. What `scripts/test` installs must be there on CI; that an
 * engine may run at all is up to the machine, so its refusal is a reason to skip everywhere.
 */
export async function describeWithEngine(
  title: string,
  body: (engine: DockerEngine) => void,
  env: EngineEnvironment = {},
): Promise<void> {
  const missing = missingPrograms();
  const isRoot = process.getuid?.() === 0;
  const installed = requirement(
    `${missing.join(', ')} (Debian: docker.io, busybox-static): ${title}`,
    missing.length === 0 || !isRoot,
  );
  let engine: DockerEngine | null = null;
  let why = isRoot ? 'an engine' : 'root for an engine';
  if (installed && missing.length === 0 && isRoot && busyboxIsStatic())
    try {
      engine = await DockerEngine.start(env);
    } catch (error) {
      why = `an engine that starts (${messageOf(error).trim().split('\n').slice(-3).join(' | ')})`;
    }
  if (!installed || !requirement(`${why}: ${title}`, engine !== null, { installable: false })) {
    skipTitle(title);
    return;
  }
  const started = engine;
  if (started === null) return;
  describe(title, () => {
    // None: nothing has begun, because a hook before all tests has failed.
    let before: EngineContents | undefined;
    beforeEach(async () => {
      before = await contentsOf(started.docker);
    });
    // In this order: hooks of the body come first.
    body(started);
    afterEach(async () => {
      const known = before;
      if (known === undefined) return;
      await eventually(async () => {
        expect(addedTo(known, await contentsOf(started.docker), started.testTags)).toEqual(NOTHING_ADDED);
      }, PATIENT);
    }, 90_000);
    afterAll(() => started.stop(), 120_000);
  });
}

function skipTitle(title: string): void {
  describe.skip(title, () => {
    test('needs a container engine', () => undefined);
  });
}
