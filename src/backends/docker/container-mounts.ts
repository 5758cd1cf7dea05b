import { isAbsolute, posix } from 'node:path';
import type { MountSettings } from 'dockerode';
import type { KernelPlan, PlannedMount } from '../backend.js';
import { HOME } from '../files/work-tree.js';
import { CONFIG_HOME } from './runner-start.js';

/** A volume with example data that the operator may have filled (spec/kernel-lifecycle.md 2.9). */
export const SAMPLES_VOLUME = 'deeplearning-samples';
const SAMPLES_HOME = `${HOME}/samples`;
const SAMPLE_IMAGES = ['tensorflow', 'caffe', 'keras', 'torch', 'mxnet', 'theano'];

/** Would kernels of this image see the samples? */
export function wantsSamples({ imageCanonical }: Pick<KernelPlan, 'imageCanonical'>): boolean {
  const name = posix.basename(imageCanonical.replace(/@.*$/, ''));
  return SAMPLE_IMAGES.some((word) => name.includes(word));
}

export const SAMPLES_MOUNT: PlannedMount = {
  source: SAMPLES_VOLUME,
  target: SAMPLES_HOME,
  permission: 'ro',
};

/** All of the kernel's, in the order of spec/kernel-lifecycle.md 2.9 to 2.11. Pure. */
export function mountsOf(
  plan: KernelPlan,
  others: {
    /** Of this machine, for every kernel. */
    readonly host: readonly PlannedMount[];
    readonly runner: readonly PlannedMount[];
  },
): MountSettings[] {
  const { scratch } = plan;
  const mounts: readonly PlannedMount[] = [
    { source: scratch.config, target: CONFIG_HOME, permission: 'ro' },
    { source: scratch.work, target: HOME, permission: 'rw' },
    ...(scratch.tmp === undefined
      ? []
      : [{ source: scratch.tmp, target: '/tmp', permission: 'rw' } as const]),
    ...others.host,
    ...plan.mounts,
    ...others.runner,
    ...(plan.containerMounts ?? []),
  ];
  return mounts.map(({ source, target, permission }) => ({
    Type: isAbsolute(source) ? 'bind' : 'volume',
    Source: source,
    Target: target,
    ReadOnly: permission === 'ro',
  }));
}
