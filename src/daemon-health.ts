import type { DaemonConfig } from './config/index.js';
import { systemClock } from './core/clock.js';
import type { Logger } from './core/logger.js';
import { VERSION } from './core/version.js';
import type { Registration } from './daemon-registration.js';
import type { StoreWait } from './daemon-store-wait.js';
import { HttpServer, type PrometheusMetrics } from './observe/index.js';
import type { HealthCheck, NodeHealth } from './rpc/node-services.js';
import type { RedisConnections } from './stores/redis-connections.js';

/** What the health of a node is read from; parts are entered as the start opens them. */
export interface HealthSources {
  readonly wait: StoreWait;
  /** Does the node serve, or is it still starting? */
  serving: boolean;
  registration: Registration | null;
  redis: RedisConnections | null;
  /** Why events do not leave at present; null when they do. */
  eventFailure: () => string | null;
}

/** The state of what the node depends on, as it is known now; asking costs nothing. */
export function nodeHealth({ wait, serving, registration, redis, eventFailure }: HealthSources): NodeHealth {
  const measuredAtMs = systemClock.nowMs();
  const check = (serviceGroup: string, componentId: string, errorMessage: string | null): HealthCheck => ({
    serviceGroup,
    componentId,
    isHealthy: errorMessage === null,
    lastCheckedAtMs: measuredAtMs,
    errorMessage,
  });
  const starting = wait.waitingFor === null ? 'starting' : `waiting for ${wait.waitingFor}`;
  const checks = [
    ...(serving ? [] : [check('agent', 'start', starting)]),
    ...(registration ? [check('etcd', 'etcd', registration.failure)] : []),
    ...(redis?.roles ?? []).map((role) =>
      check('redis', role, redis?.away.get(role) ?? (role === 'stream' ? eventFailure() : null)),
    ),
  ];
  const status = checks.every(({ isHealthy }) => isHealthy) ? 'ok' : 'degraded';
  return { status, version: VERSION, checks, measuredAtMs };
}

/** `/health` and `/metrics`, where an address is configured for them. */
export function openHttpServer(parts: {
  readonly config: DaemonConfig;
  readonly health: () => NodeHealth;
  readonly metrics: PrometheusMetrics;
  readonly logger: Logger;
}): Promise<HttpServer | null> {
  const { config, health, metrics, logger } = parts;
  const { listen } = config.http;
  if (!listen) return Promise.resolve(null);
  return HttpServer.open({
    host: listen.host,
    port: listen.port,
    health: () => {
      const { status, version, checks } = health();
      const healthy = status === 'ok';
      const body =
        config.managerVersion === '25.17' && healthy
          ? { status: 'healthy', version, component: 'agent' }
          : {
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
              },
            };
      return Promise.resolve({ isHealthy: healthy, body });
    },
    metrics: () => metrics.text(),
    logger,
  });
}
