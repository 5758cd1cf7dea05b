import { fileURLToPath } from 'node:url';
import { formatProblems, type LoadedConfig, loadConfig } from '../config/index.js';
import { messageOf } from '../core/errors.js';
import { writePidFile } from './pid-file.js';
import { reloadConfig } from './reload.js';
import { Daemon } from './daemon.js';
import { createLogger, PrometheusMetrics } from '../observe/index.js';
import { liftSocketLimit } from '../runner/socket-limit.js';

export { deviceProblems } from './resources.js';

export interface DaemonRun {
  readonly configPath: string | undefined;
  /** Wins over the file's. */
  readonly logLevel: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  out(line: string): void;
  err(line: string): void;
  /** Ends the run. */
  readonly signal: AbortSignal;
  /** Calls the listener whenever the configuration is to be read again (SIGHUP). */
  onReload(listener: () => void): void;
}

/**
 * Runs a daemon in this process until the signal: prints one line with its address and its agents once it serves.
 * @throws ConfigError and whatever keeps the daemon from starting.
 */
export async function runDaemon(run: DaemonRun): Promise<void> {
  liftSocketLimit();
  let reload = (): void => undefined;
  run.onReload(() => {
    reload();
  });
  const load = (): Promise<LoadedConfig> =>
    loadConfig({
      ...(run.configPath === undefined ? {} : { path: run.configPath }),
      ...(run.logLevel === undefined ? {} : { logLevel: run.logLevel }),
      env: run.env,
      cwd: run.cwd,
      home: run.home,
    });
  const loaded = await load();
  const { config, warnings } = loaded;
  if (warnings.length > 0) run.err(formatProblems(warnings));
  const logger = createLogger({
    level: config.logLevel,
    format: config.logging.format,
    sink: { write: (line) => void process.stderr.write(line) },
  });
  let resources: Daemon['resources'] | null = null;
  reload = () => void reloadConfig({ started: loaded, load, resources, logger });
  process.on('unhandledRejection', (reason) => {
    // A defect of ours: kernels of other callers must not pay for it.
    logger.error('unhandled rejection', { error: messageOf(reason) });
  });
  const metrics = new PrometheusMetrics({
    onMisuse: (error) => {
      logger.error('metric misused', { error: error.message });
    },
  });
  let daemon: Daemon;
  try {
    daemon = await Daemon.open({
      loaded,
      runnerPath: fileURLToPath(new URL('../kernel-runner.mjs', import.meta.url)),
      env: run.env,
      cwd: run.cwd,
      logger,
      metrics,
      signal: run.signal,
    });
  } catch (error) {
    if (!run.signal.aborted) throw error;
    // It was waiting for a store or a manager, and was told not to.
    logger.info('stopped before it served', {
      reason: messageOf(run.signal.reason),
      while: messageOf(error),
    });
    return;
  }
  resources = daemon.resources;
  const removePidFile = await pidFileOf(config.pidFile, daemon);
  run.out(`ready: ${daemon.endpoint} agents ${daemon.agentIds.join(' ')}`);
  if (!run.signal.aborted)
    await new Promise((resolve) => {
      run.signal.addEventListener('abort', resolve, { once: true });
    });
  logger.info('stopping', { reason: messageOf(run.signal.reason) });
  try {
    await daemon.close();
  } finally {
    await removePidFile();
  }
}

/** Without the file it was told to write, nobody would find the daemon to stop it. */
async function pidFileOf(path: string | null, daemon: Daemon): Promise<() => Promise<void>> {
  if (path === null) return () => Promise.resolve();
  try {
    return await writePidFile(path);
  } catch (error) {
    await daemon.close();
    throw error;
  }
}
