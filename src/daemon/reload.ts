import { diffConfig, formatProblems, type LoadedConfig } from '../config/index.js';
import { hasCode, messageOf } from '../core/errors.js';
import type { AdjustableLogger } from '../observe/index.js';
import type { NodeResources } from '../resources/index.js';

/** Taken over by a running daemon, as `logging.level` is; every other key needs a restart. */
const RESERVED_KEYS: ReadonlySet<string> = new Set([
  'resource.reserved-cpu',
  'resource.reserved-mem',
  'resource.reserved-disk',
]);

/**
 * Takes over what of the configuration can change while the daemon runs, and says in the log what was taken and what
 * waits for a restart. Never rejects: with a file that cannot be used, everything stays as it is.
 */
export async function reloadConfig(parts: {
  /** What the daemon was started with, before what etcd holds was laid over it. */
  readonly started: LoadedConfig;
  readonly load: () => Promise<LoadedConfig>;
  /** Null while the daemon still starts. */
  readonly resources: Pick<NodeResources, 'reserve'> | null;
  readonly logger: AdjustableLogger;
}): Promise<void> {
  const { started, load, resources, logger } = parts;
  try {
    const { config, warnings } = await load();
    const changed = [...new Set(diffConfig(started.config, config).map(({ key }) => key))];
    const isTaken = (key: string): boolean =>
      key === 'logging.level' || (resources !== null && RESERVED_KEYS.has(key));
    // Also when it is as at the start: an earlier reload may have changed it.
    resources?.reserve(config.reserved);
    logger.setLevel(config.logLevel);
    logger.info('configuration reloaded', {
      logLevel: config.logLevel,
      acceptedManagerKeys: 're-read whenever their directory changes',
      taken: changed.filter(isTaken),
      waitingForRestart: changed.filter((key) => !isTaken(key)),
      ...(warnings.length > 0 && { warnings: formatProblems(warnings) }),
    });
  } catch (error) {
    logger.error('configuration not reloaded: everything stays as it is', {
      [hasCode(error, 'CONFIG_INVALID') ? 'problems' : 'error']: messageOf(error),
    });
  }
}
