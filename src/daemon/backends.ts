import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { KernelBackend } from '../backends/backend.js';
import { DockerBackend, type DistroCache } from '../backends/docker/index.js';
import { DummyBackend, DummyContainers } from '../backends/dummy/index.js';
import { ProcessBackend } from '../backends/process/index.js';
import { ConfigError, type DaemonConfig, type DummyConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import { InvariantError } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Questions } from '../core/questions.js';
import { agentSocketsOf } from './local.js';
import { FakeRunner } from '../kernel-runner/fake-runner.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import { RedisImageDistros } from '../stores/redis-image-distros.js';

/** For a backend of the original that is not here. @throws ConfigError */
export function refuseMissingBackend(config: DaemonConfig): void {
  if (config.backend !== 'kubernetes') return;
  const message = `there is no '${config.backend}' backend: use docker, process or dummy`;
  throw new ConfigError([{ key: 'agent.backend', message, origin: config.file ?? 'configuration' }]);
}

/**
 * The one backend that all agents of the node share, open.
 * @throws the backend's error when it cannot work on this machine.
 */
export async function openBackend(options: {
  readonly config: DaemonConfig;
  /** Of the dummy backend; null with another. */
  readonly dummy: DummyConfig | null;
  readonly stateRoot: string;
  /** The bundled kernel runner. */
  readonly runnerPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Once it is open; null: there is none, or not yet. */
  readonly redis: () => RedisConnections | null;
  /** For what is measured. */
  readonly questions: Questions;
  readonly logger: Logger;
}): Promise<KernelBackend> {
  const { config } = options;
  const logger = options.logger.child({ component: `${config.backend}-backend` });
  const backend = makeBackend(options, logger);
  await backend.open();
  return backend;
}

type Options = Parameters<typeof openBackend>[0];

function makeBackend(options: Options, logger: Logger): KernelBackend {
  switch (options.config.backend) {
    case 'docker':
      return dockerBackend(options, logger);
    case 'dummy':
      return dummyBackend(options, logger);
    default:
      return processBackend(options, logger);
  }
}

function processBackend({ stateRoot, runnerPath, env, questions }: Options, logger: Logger): KernelBackend {
  const runtimeDir = env['XDG_RUNTIME_DIR'];
  return new ProcessBackend({
    stateDir: join(stateRoot, 'process'),
    runnerPath,
    ...(runtimeDir === undefined ? {} : { runtimeDir }),
    questions,
    logger,
  });
}

function dockerBackend(
  { config, stateRoot, runnerPath, redis, questions }: Options,
  logger: Logger,
): KernelBackend {
  const { driver, maxLengthBytes } = config.containerLogs;
  const { docker } = config;
  const { coredump } = config.debug;
  return new DockerBackend({
    runnerVolume: {
      root: join(stateRoot, 'runner-volumes'),
      runnerPath,
      // Built beside it.
      entrypointPath: join(dirname(runnerPath), 'kernel-entrypoint.mjs'),
    },
    logs: { driver, maxBytes: maxLengthBytes },
    agentSockets: agentSocketsOf(config),
    ...(docker.socketPath === null ? {} : { socketPath: docker.socketPath }),
    hardening: docker.hardening,
    ...(docker.pidsLimit === null ? {} : { pidsLimit: docker.pidsLimit.most }),
    ...seccompChoice(config),
    ...runnerChoice(config),
    distroCache: sharedDistros(redis),
    ...(docker.allowedMountRoots === null ? {} : { allowedMountRoots: docker.allowedMountRoots }),
    overridePaths: docker.overrideFiles,
    engineDeadlineMs: docker.engineDeadlineMs,
    questions,
    killDeadlineMs: docker.killDeadlineMs,
    furtherMounts:
      coredump === null
        ? []
        : [{ source: coredump.path, target: coredump.containerDir, permission: 'rw' as const }],
    logger,
  });
}

/**
 * Our runner, with the helper programs of the original's package where there is one; or the original's runner, where
 * its volumes are named, too. That a package is there then, `config check` sees to.
 */
function runnerChoice(config: DaemonConfig) {
  const directory = config.docker.runnerPackage;
  const volumes = config.agents[0]?.krunnerVolumes ?? {};
  if (directory === null) return {};
  return Object.keys(volumes).length === 0
    ? { helperDirectory: directory }
    : {
        originalRunner: {
          packageDirectory: directory,
          volumes,
          isDebug: config.debug.kernelRunner,
          jailOf: jailOf(config),
        },
      };
}

/** A single agent may get its id only when it starts; several have one each. */
const jailOf =
  ({ agents }: DaemonConfig) =>
  (agentId: AgentId) => {
    const agent = agents.length === 1 ? agents[0] : agents.find(({ id }) => id === agentId);
    return agent?.sandboxType === 'jail' ? agent.jailArgs : null;
  };

/** The operator's profile; else that of the runner package, as with the original (spec/kernel-lifecycle.md 2.16); else the engine's. */
function seccompChoice({ docker }: DaemonConfig) {
  if (docker.seccompProfileFile !== null) return { seccompProfilePath: docker.seccompProfileFile };
  const profile = docker.runnerPackage === null ? null : join(docker.runnerPackage, 'default-seccomp.json');
  return profile !== null && existsSync(profile) ? { seccompProfilePath: profile } : {};
}

/** Redis is opened after the backend, and only where there is one. */
function sharedDistros(redis: Options['redis']): DistroCache {
  const distros = () => {
    const connections = redis();
    return connections && new RedisImageDistros(() => connections.client('statistics'));
  };
  return {
    read: async (digest) => (await distros()?.read(digest)) ?? null,
    write: async (digest, distro) => distros()?.write(digest, distro),
  };
}

function dummyBackend({ dummy, stateRoot }: Options, logger: Logger): KernelBackend {
  if (dummy === null) throw new InvariantError('the dummy backend is opened without its settings');
  return new DummyBackend({
    settings: dummy,
    containers: new DummyContainers({ directory: join(stateRoot, 'dummy'), logger }),
    serveRunner: (runner) => FakeRunner.open(runner),
    clock: systemClock,
    logger,
  });
}
