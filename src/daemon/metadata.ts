import type { DaemonConfig } from '../config/index.js';
import { within } from '../core/async.js';
import { systemClock } from '../core/clock.js';
import type { DisposalStack } from '../core/disposal.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { loadMetadataPlugins } from '../metadata/load.js';
import type { MetadataPlugin } from '../metadata/metadata-plugin.js';
import { PackagePlugins } from './package-plugins.js';
import type { StoreWait } from './store-wait.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';

const CLOSE_MS = 5000;

/** The packages that tell kernels more about themselves. @throws as `PackagePlugins.read` */
export async function openMetadataPlugins(options: {
  readonly config: DaemonConfig;
  /** Where packages are found. */
  readonly cwd: string;
  readonly view: AgentEtcdView;
  readonly wait: StoreWait;
  readonly parts: DisposalStack;
  readonly logger: Logger;
}): Promise<readonly MetadataPlugin[]> {
  const { config, parts, logger } = options;
  const tables = config.metadataPlugins;
  if (Object.keys(tables).length === 0) return [];
  const found = await PackagePlugins.read({ ...options, group: 'metadata_app', tables });
  const plugins = await loadMetadataPlugins({
    packages: found.packages,
    resolveFrom: options.cwd,
    settingsOf: found.settingsOf,
    onLoaded: found.loaded,
    logger,
  });
  for (const plugin of plugins)
    parts.defer(`metadata plugin ${plugin.name}`, async () => {
      const closed = { timeoutMs: CLOSE_MS, what: 'close' };
      await within(Promise.resolve(plugin.close?.()), closed).catch((error: unknown) => {
        logger.warn('a metadata plugin did not close', { plugin: plugin.name, error: messageOf(error) });
      });
    });
  const settings = found.follow({ clock: systemClock, logger });
  parts.defer('settings of metadata plugins', () => settings.close());
  return plugins;
}
