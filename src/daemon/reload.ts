import { diffConfig, formatProblems, type LoadedConfig } from '../config/index.js';
import { hasCode, messageOf } from '../core/errors.js';
import type { AdjustableLogger } from '../observe/index.js';

/** Keys that a running daemon takes over from the file; every other one needs a restart. */
const RELOADED: ReadonlySet<string> = new Set(['logging.level']);

/**
 * Takes over what of the configuration can change while the daemon runs, and says in the log what was taken and what
 * waits for a restart. Never rejects: with a file that cannot be used, everything stays as it is.
 */
export async function reloadConfig(parts: {
  /** What the daemon was started with, before what etcd holds was laid over it. */
  readonly started: LoadedConfig;
  readonly load: () => Promise<LoadedConfig>;
  readonly logger: AdjustableLogger;
}): Promise<void> {
  const { started, load, logger } = parts;
  try {
    const { config, warnings } = await load();
    const changed = [...new Set(diffConfig(started.config, config).map(({ key }) => key))];
    logger.setLevel(config.logLevel);
    logger.info('configuration reloaded', {
      logLevel: config.logLevel,
      acceptedManagerKeys: 're-read whenever their directory changes',
      waitingForRestart: changed.filter((key) => !RELOADED.has(key)),
      ...(warnings.length > 0 && { warnings: formatProblems(warnings) }),
    });
  } catch (error) {
    logger.error('configuration not reloaded: everything stays as it is', {
      [hasCode(error, 'CONFIG_INVALID') ? 'problems' : 'error']: messageOf(error),
    });
  }
}
