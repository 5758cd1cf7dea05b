export { LEVELS, parseLevel } from './levels.js';
export type { Level } from './levels.js';
export { createLogger } from './logger.js';
export type { AdjustableLogger, LineSink, LoggerOptions } from './logger.js';
export { PrometheusMetrics } from './metrics.js';
export type { PrometheusMetricsOptions } from './metrics.js';
export { type HttpAnswer, HttpServer, type HttpServerOptions } from './http-server.js';
export { SnapshotSocket, type SnapshotSocketOptions } from './snapshot-socket.js';
