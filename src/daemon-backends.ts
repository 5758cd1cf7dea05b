import { join } from 'node:path';
import type { KernelBackend } from './backends/backend.js';
import { DockerBackend } from './backends/docker/index.js';
import { ProcessBackend } from './backends/process/index.js';
import { ConfigError, type DaemonConfig } from './config/index.js';
import type { Logger } from './core/logger.js';

/** What the configuration may ask for and this release does not have. @throws ConfigError */
export function refuseUnbuiltBackend(config: DaemonConfig): void {
  if (config.backend === 'process' || config.backend === 'docker') return;
  const message = `'${config.backend}' is not part of this release yet`;
  throw new ConfigError([{ key: 'agent.backend', message, origin: config.file ?? 'configuration' }]);
}

/**
 * The one backend that all agents of the node share, open.
 * @throws the backend's error when it cannot work on this machine.
 */
export async function openBackend(options: {
  readonly config: DaemonConfig;
  readonly stateRoot: string;
  /** The bundled kernel runner. */
  readonly runnerPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
}): Promise<KernelBackend> {
  const { config } = options;
  const logger = options.logger.child({ component: `${config.backend}-backend` });
  const backend =
    config.backend === 'docker' ? dockerBackend(options, logger) : processBackend(options, logger);
  await backend.open();
  return backend;
}

type Options = Parameters<typeof openBackend>[0];

function processBackend({ stateRoot, runnerPath, env }: Options, logger: Logger): KernelBackend {
  const runtimeDir = env['XDG_RUNTIME_DIR'];
  return new ProcessBackend({
    stateDir: join(stateRoot, 'process'),
    runnerPath,
    ...(runtimeDir === undefined ? {} : { runtimeDir }),
    logger,
  });
}

function dockerBackend({ config, stateRoot, runnerPath }: Options, logger: Logger): KernelBackend {
  const { driver, maxLengthBytes } = config.containerLogs;
  const bridge = config.agents[0]?.alternativeBridge;
  return new DockerBackend({
    runnerVolume: { root: join(stateRoot, 'runner-volumes'), runnerPath },
    logs: { driver, maxBytes: maxLengthBytes },
    ...(bridge == null ? {} : { defaultNetwork: bridge }),
    logger,
  });
}
