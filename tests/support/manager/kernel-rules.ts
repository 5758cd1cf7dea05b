import type { ManagerVersion } from '../../../src/config/types.js';

export type KernelStatus =
  | 'PENDING'
  | 'PREPARING'
  | 'PULLING'
  | 'PREPARED'
  | 'CREATING'
  | 'RUNNING'
  | 'TERMINATING'
  | 'TERMINATED'
  | 'CANCELLED';

/** From which statuses an event moves a kernel, and whereto; at any other status it is ignored. */
export interface KernelRule {
  readonly from: readonly KernelStatus[];
  readonly to: KernelStatus;
}

export const WAITING_STATUSES: readonly KernelStatus[] = ['PREPARING', 'PULLING', 'PREPARED'];
/** Those from which a session can be told to end. */
export const ALIVE_STATUSES: readonly KernelStatus[] = [...WAITING_STATUSES, 'CREATING', 'RUNNING'];
/** Those from which a session that is stuck goes back into the queue. */
export const RETRIABLE_STATUSES: readonly KernelStatus[] = [...WAITING_STATUSES, 'CREATING'];
/** A 25.17 manager takes containers of kernels with another status for strays (spec/events-and-stores.md 4.5). */
export const CONTAINER_STATUSES: readonly KernelStatus[] = ['PULLING', 'CREATING', 'RUNNING'];

/** Pulls name an image, not a kernel. */
const IMAGE_RULES: Readonly<Record<string, KernelRule>> = {
  image_pull_started: { from: ['PREPARING'], to: 'PULLING' },
  image_pull_finished: { from: ['PREPARING', 'PULLING'], to: 'PREPARED' },
  image_pull_failed: { from: ['PREPARING', 'PULLING'], to: 'CANCELLED' },
};

/** spec/events-and-stores.md 10.2; for 26.x an end counts whenever it comes (3.7). */
const KERNEL_RULES: Readonly<Record<ManagerVersion, Readonly<Record<string, KernelRule>>>> = {
  '25.17': {
    kernel_creating: { from: ['PULLING'], to: 'CREATING' },
    kernel_started: { from: ['CREATING'], to: 'RUNNING' },
    kernel_terminated: { from: ['TERMINATING'], to: 'TERMINATED' },
  },
  '26.9': {
    kernel_creating: { from: ['PULLING'], to: 'CREATING' },
    kernel_started: { from: ['CREATING'], to: 'RUNNING' },
    kernel_terminated: { from: [...ALIVE_STATUSES, 'TERMINATING'], to: 'TERMINATED' },
  },
};

export const imageRule = (event: string): KernelRule | undefined => IMAGE_RULES[event];

export const kernelRule = (line: ManagerVersion, event: string): KernelRule | undefined =>
  KERNEL_RULES[line][event];
