import { fileURLToPath } from 'node:url';
import { formatProblems, loadConfig } from './config/index.js';
import { messageOf } from './core/errors.js';
import { Daemon } from './daemon.js';
import { createLogger, PrometheusMetrics } from './observe/index.js';

export interface DaemonRun {
  readonly configPath: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  out(line: string): void;
  err(line: string): void;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

/**
 * Runs a daemon in this process until the signal: prints one line with its address and its agents once it serves.
 * @throws ConfigError and whatever keeps the daemon from starting.
 */
export async function runDaemon(run: DaemonRun): Promise<void> {
  const loaded = await loadConfig({
    ...(run.configPath === undefined ? {} : { path: run.configPath }),
    env: run.env,
    cwd: run.cwd,
    home: run.home,
  });
  const { config, warnings } = loaded;
  if (warnings.length > 0) run.err(formatProblems(warnings));
  const logger = createLogger({
    level: config.logLevel,
    format: config.logging.format,
    sink: { write: (line) => void process.stderr.write(line) },
  });
  process.on('unhandledRejection', (reason) => {
    // A defect of ours: kernels of other callers must not pay for it.
    logger.error('unhandled rejection', { error: messageOf(reason) });
  });
  const metrics = new PrometheusMetrics({
    onMisuse: (error) => {
      logger.error('metric misused', { error: error.message });
    },
  });
  const daemon = await Daemon.open({
    loaded,
    runnerPath: fileURLToPath(new URL('./kernel-runner.mjs', import.meta.url)),
    env: run.env,
    cwd: run.cwd,
    logger,
    metrics,
    signal: run.signal,
  });
  run.out(`ready: ${daemon.endpoint} agents ${daemon.agentIds.join(' ')}`);
  if (!run.signal.aborted)
    await new Promise((resolve) => {
      run.signal.addEventListener('abort', resolve, { once: true });
    });
  logger.info('stopping', { reason: messageOf(run.signal.reason) });
  await daemon.close();
}
