import type { Counter, Histogram, Metrics } from '../core/metrics.js';

/** What the original counts per function (spec/rpc-functions.md 1.6). All agents of a process share the series. */
export interface RpcMetrics {
  readonly requests: Counter;
  readonly failures: Counter;
  readonly durations: Histogram;
}

export function declareRpcMetrics(metrics: Metrics): RpcMetrics {
  return {
    requests: metrics.counter({
      name: 'backendai_rpc_requests_total',
      help: 'Finished calls',
      labels: ['method'],
    }),
    failures: metrics.counter({
      name: 'backendai_rpc_failure_requests_total',
      help: 'Failed calls',
      labels: ['method', 'exception'],
    }),
    durations: metrics.histogram({
      name: 'backendai_rpc_request_duration_seconds',
      help: 'Duration of calls in seconds',
      labels: ['method'],
      buckets: [0.1, 1, 10, 30, 60, 300, 600],
    }),
  };
}
