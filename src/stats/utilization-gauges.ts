import type { AgentId, KernelId, SessionId } from '../core/ids.js';
import type { Gauge, Labels, Metrics } from '../core/metrics.js';
import type { Measurement } from './metric.js';

export interface GaugedKernel {
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly ownerUserId: string | null;
  readonly ownerProjectId: string | null;
}

/** How long the series of a kernel outlive it, so that its last values are scraped (spec/events-and-stores.md 8.3). */
const RETENTION_MS = 600_000;
const ABSENT = 'undefined';

/** The utilization gauges of one agent. They carry raw values: whoever queries them computes rates. */
export class UtilizationGauges {
  readonly #agentId: AgentId;
  readonly #devices: Gauge;
  readonly #kernels: Gauge;
  readonly #series = new Map<KernelId, { readonly seen: Map<string, Labels>; lastMs: number }>();

  constructor(agentId: AgentId, metrics: Metrics) {
    this.#agentId = agentId;
    this.#devices = metrics.gauge({
      name: 'backendai_device_utilization',
      help: 'What the node and its devices use, as it was measured.',
      labels: ['device_metric_name', 'agent_id', 'device_id', 'value_type'],
    });
    this.#kernels = metrics.gauge({
      name: 'backendai_container_utilization',
      help: 'What kernels use, as it was measured: CPU time, traffic and I/O are counters.',
      labels: [
        'container_metric_name',
        'agent_id',
        'kernel_id',
        'session_id',
        'user_id',
        'project_id',
        'value_type',
      ],
    });
  }

  device(metric: string, deviceId: string, { value, capacity }: Measurement): void {
    const labels = { device_metric_name: metric, agent_id: this.#agentId, device_id: deviceId };
    this.#devices.set(value.toNumber(), { ...labels, value_type: 'current' });
    if (capacity) this.#devices.set(capacity.toNumber(), { ...labels, value_type: 'capacity' });
  }

  kernel(kernel: GaugedKernel, measured: ReadonlyMap<string, Measurement>, atMs: number): void {
    const { kernelId, sessionId, ownerUserId, ownerProjectId } = kernel;
    const series = this.#series.get(kernelId) ?? { seen: new Map<string, Labels>(), lastMs: atMs };
    this.#series.set(kernelId, series);
    series.lastMs = atMs;
    const set = (metric: string, type: string, value: number) => {
      const labels = {
        container_metric_name: metric,
        agent_id: this.#agentId,
        kernel_id: kernelId,
        session_id: sessionId,
        user_id: ownerUserId ?? ABSENT,
        project_id: ownerProjectId ?? ABSENT,
        value_type: type,
      };
      series.seen.set(`${metric} ${type}`, labels);
      this.#kernels.set(value, labels);
    };
    for (const [metric, { value, capacity }] of measured) {
      set(metric, 'current', value.toNumber());
      if (capacity) set(metric, 'capacity', capacity.toNumber());
    }
  }

  /** Takes out the series of kernels that were not measured for long enough. */
  expire(atMs: number): void {
    for (const [kernelId, { seen, lastMs }] of this.#series) {
      if (atMs - lastMs < RETENTION_MS) continue;
      for (const labels of seen.values()) this.#kernels.remove(labels);
      this.#series.delete(kernelId);
    }
  }
}
