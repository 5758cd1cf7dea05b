import type { KernelDetails, KernelPlan } from '../backend.js';
import type { DummySettings } from './settings.js';

/** How long the making of a container takes: it has no parts, so their times follow each other. */
export const creationMs = (delaysMs: DummySettings['delaysMs']): number =>
  delaysMs['prepare-scratch'] + delaysMs['prepare-ssh'] + delaysMs['mount-krunner'] + delaysMs.spawn;

/** Pure: for people, what a kernel of the plan would be. */
export function describePlan(
  plan: KernelPlan,
  { delaysMs, usesFakeRunner }: DummySettings,
): Readonly<Record<string, unknown>> {
  return {
    image: plan.imageCanonical,
    runner: usesFakeRunner ? 'fake' : 'real',
    runtime: plan.runtimeType,
    hostname: plan.hostname,
    environment: plan.environment,
    labels: plan.labels,
    cores: plan.limits.cpuCores,
    memory_bytes: plan.limits.memoryBytes,
    shm_bytes: plan.limits.shmBytes,
    mounts: plan.mounts.map(({ source, target, permission }) => ({ source, target, permission })),
    ports: plan.ports.map(({ name, containerPort, hostPort }) => ({ name, containerPort, hostPort })),
    network: networkOf(plan),
    delays_ms: {
      create: Math.round(creationMs(delaysMs)),
      start: Math.round(delaysMs['start-container']),
      stop: Math.round(delaysMs['destroy-kernel']),
      remove: Math.round(delaysMs['clean-kernel']),
    },
  };
}

/** Pure: what is kept of the plan, for kernels that nobody has a record of. */
export const detailsOf = (plan: KernelPlan, createdAtMs: number): KernelDetails => ({
  scratch: plan.scratch.root,
  labels: plan.labels,
  image: plan.imageCanonical,
  hostname: plan.hostname,
  environment: plan.environment,
  published: plan.ports.map(({ containerPort, hostPort }) => ({ containerPort, hostPort })),
  network: networkOf(plan),
  shmBytes: plan.limits.shmBytes,
  createdAtMs,
});

const networkOf = ({ network }: KernelPlan): string | null =>
  network?.mode === 'named' ? network.name : network?.mode === 'host' ? 'host' : null;
