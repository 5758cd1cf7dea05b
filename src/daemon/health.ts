import type { DaemonConfig } from '../config/index.js';
import { readFile } from 'node:fs/promises';
import { systemClock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { VERSION } from '../core/version.js';
import type { BackendProbe } from './backend-probe.js';
import type { Registration } from './registration.js';
import type { StoreWait } from './store-wait.js';
import { httpMetrics, HttpServer, ProcessMetrics, type PrometheusMetrics } from '../observe/index.js';
import type { HealthCheck, NodeHealth } from '../rpc/node-services.js';
import type { RedisConnections, RedisRole } from '../stores/redis-connections.js';

/** What the health of a node is read from; parts are entered as the start opens them. */
export interface HealthSources {
  readonly wait: StoreWait;
  /** Does the node serve, or is it still starting? */
  serving: boolean;
  registration: Registration | null;
  redis: RedisConnections | null;
  /** Of the container engine; null without one. */
  engine: BackendProbe | null;
  /** Why events do not leave at present; null when they do. */
  eventFailure: () => string | null;
}

/** The state of what the node depends on, as it is known now; asking costs nothing. */
export function nodeHealth(sources: HealthSources): NodeHealth {
  const { wait, serving, registration, redis, engine, eventFailure } = sources;
  const measuredAtMs = systemClock.nowMs();
  const check = (
    serviceGroup: string,
    componentId: string,
    errorMessage: string | null,
    { lastCheckedAtMs = measuredAtMs, sinceMs = null }: Partial<HealthCheck> = {},
  ): HealthCheck => ({
    serviceGroup,
    componentId,
    isHealthy: errorMessage === null,
    lastCheckedAtMs,
    errorMessage,
    sinceMs,
  });
  const starting = wait.waitingFor === null ? 'starting' : `waiting for ${wait.waitingFor}`;
  const checks = [
    ...(serving ? [] : [check('agent', 'start', starting)]),
    ...(registration ? [check('etcd', 'etcd', registration.failure, { sinceMs: registration.sinceMs })] : []),
    ...(engine
      ? [check('container', 'docker', engine.failure, { lastCheckedAtMs: engine.checkedAtMs })]
      : []),
    ...(redis?.roles ?? []).map((role) =>
      check(
        'redis',
        COMPONENTS[role] ?? role,
        redis?.away.get(role) ?? (role === 'stream' ? eventFailure() : null),
        { sinceMs: redis?.sinceMs(role) ?? null },
      ),
    ),
  ];
  const status = checks.every(({ isHealthy }) => isHealthy) ? 'ok' : 'degraded';
  return { status, version: VERSION, checks, measuredAtMs };
}

/** The original's words, where they are not those of the configuration. */
const COMPONENTS: Partial<Record<RedisRole, string>> = { statistics: 'stat' };

/**
 * `/health` and `/metrics`, where an address is configured for them.
 * @throws the file's error for a certificate or key that cannot be read, and the socket's.
 */
export async function openHttpServer(parts: {
  readonly config: DaemonConfig;
  readonly health: () => NodeHealth;
  readonly metrics: PrometheusMetrics;
  readonly logger: Logger;
}): Promise<HttpServer | null> {
  const { config, health, metrics, logger } = parts;
  const { listen, tls } = config.http;
  if (!listen) return null;
  const own = new ProcessMetrics({ metrics, clock: systemClock });
  return HttpServer.open({
    host: listen.host,
    port: listen.port,
    ...(tls && { tls: { cert: await readFile(tls.certFile), key: await readFile(tls.keyFile) } }),
    onAnswer: httpMetrics(metrics),
    health: () => {
      const { status, version, checks, measuredAtMs } = health();
      const healthy = status === 'ok';
      const body = {
        status,
        version,
        component: 'agent',
        connectivity: {
          overall_healthy: healthy,
          connectivity_checks: checks.map((one) => ({
            service_group: one.serviceGroup,
            component_id: one.componentId,
            is_healthy: one.isHealthy,
            last_checked_at: new Date(one.lastCheckedAtMs).toISOString(),
            error_message: one.errorMessage,
          })),
          timestamp: new Date(measuredAtMs).toISOString(),
        },
      };
      return Promise.resolve({ isHealthy: healthy, body });
    },
    metrics: async () => {
      own.refresh(await readFile('/proc/self/statm', 'utf8').catch(() => null));
      return metrics.text();
    },
    logger,
  });
}
