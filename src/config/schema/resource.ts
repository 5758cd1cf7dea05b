import { parseAllocatedCpu, parseAllocatedDevices } from '../allocations.js';
import { listOf, oneOf, parseAffinityPolicy, parseInteger, parseText } from '../formats.js';
import { parseSizeBytes } from '../size.js';
import { key, table } from './definition.js';

/** Spec/config-and-resources.md 1.7.5: `[resource.allocations]`, and the same keys as `[agents.resource]`. */
export const allocations = table(
  'Share of one agent in mode manual.',
  {
    cpu: key('Number of cores, or a list of core ids that are this agent’s alone', parseAllocatedCpu, null, {
      required: true,
      unit: 'cores',
      example: 4,
    }),
    mem: key('Memory', parseSizeBytes, null, { required: true, unit: 'bytes', example: '8G' }),
    devices: key(
      'Slot name to amount ("cuda.shares" = 2.5), or device name to a list of device ids (cuda = ["0", "1"])',
      parseAllocatedDevices,
      {},
    ),
  },
  { optional: true },
);

/** Spec/config-and-resources.md 1.7.4. */
export const resource = table('What of the machine agents get.', {
  'reserved-cpu': key('Cores kept from kernels', parseInteger, 1, { unit: 'cores' }),
  'reserved-mem': key('Memory kept from kernels', parseSizeBytes, '1G', { unit: 'bytes' }),
  'reserved-disk': key('Disk kept from kernels', parseSizeBytes, '8G', { unit: 'bytes' }),
  'allocation-mode': key(
    'How agents share the machine: each sees all of it, equal parts, or what each one’s [agents.resource] says',
    oneOf('shared', 'auto-split', 'manual'),
    'shared',
  ),
  'memory-align-size': key('Memory told to managers is a multiple of this', parseSizeBytes, '16M', {
    unit: 'bytes',
  }),
  'allocation-order': key('Device names in the order in which they are allocated', listOf(parseText), [
    'cuda',
    'rocm',
    'tpu',
    'cpu',
    'mem',
  ]),
  'affinity-policy': key('How devices are chosen across NUMA nodes', parseAffinityPolicy, 'INTERLEAVED'),
  allocations,
});
