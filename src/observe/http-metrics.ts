import type { Metrics } from '../core/metrics.js';
import type { HttpAnswer } from './http-server.js';

/** Counts the requests of the HTTP service under the names of the original. */
export function httpMetrics(metrics: Metrics): (answer: HttpAnswer) => void {
  const labels = ['method', 'endpoint', 'domain', 'operation', 'error_detail', 'status_code'];
  const requests = metrics.counter({
    name: 'backendai_api_request_count_total',
    help: 'Requests to the HTTP service.',
    labels,
  });
  const durations = metrics.histogram({
    name: 'backendai_api_request_duration_sec',
    help: 'Seconds from a request to the HTTP service to the end of its answer.',
    labels,
    buckets: [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30],
  });
  return ({ method, endpoint, status, durationMs }) => {
    const of = {
      method,
      endpoint,
      domain: '',
      operation: '',
      error_detail: '',
      status_code: String(status),
    };
    requests.increment(of);
    durations.observe(durationMs / 1000, of);
  };
}
