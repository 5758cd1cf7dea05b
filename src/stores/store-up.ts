import type { MetricDefinition } from '../core/metrics.js';

/** One series a connection: 1 while its server answers, 0 while it is away. `role` is empty for etcd. */
export const STORE_UP: MetricDefinition = {
  name: 'splenium_store_up',
  help: 'Does a store answer? 1: yes; 0: it is away.',
  labels: ['store', 'role'],
};
