import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { KernelDetails, KernelHandle, RunnerEndpoints } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { hasCode, messageOf, ValueError } from '../../core/errors.js';
import { Kernel, type KernelFacts } from '../kernel.js';
import type { ResourceSpec } from '../requests.js';
import { factsOfFound } from './found-kernel.js';
import type { LifecycleParts } from './parts.js';
import { planRelays, scratchPaths, specMounts } from './plan-mounts.js';
import { readScratchRecord } from './scratch-record.js';
import { mergeApps } from './service-ports.js';
import { creationResult } from './start.js';
import { TIME_LIMITS } from './time-limits.js';

/** What a kernel is entered in the books with. */
interface Adoption {
  readonly facts: KernelFacts;
  readonly mounts: ResourceSpec['mounts'];
}

/**
 * Takes over a running kernel of this agent that the journal does not know, because the journal was lost or the
 * original's agent has made the kernel (spec/kernel-lifecycle.md 9.3 R2). Runs inside the kernel's queue, after
 * everything of the journal is booked. Null: it cannot be kept, and the log says what was missing; nothing is booked
 * then.
 */
export async function adoptKernel(parts: LifecycleParts, handle: KernelHandle): Promise<Kernel | null> {
  const logger = parts.logger.child({ kernelId: handle.kernelId });
  let kernel: Kernel | null = null;
  try {
    const { facts, mounts } = await readAdoption(parts, handle);
    kernel = Kernel.restored(facts);
    await enter(parts, kernel, mounts);
    logger.warn('a kernel without a record is taken over from its container and its files', {
      kernelId: handle.kernelId,
      containerId: handle.containerId,
    });
    return kernel;
  } catch (error) {
    logger.error('a kernel without a record cannot be taken over; it is ended', {
      kernelId: handle.kernelId,
      containerId: handle.containerId,
      missing: messageOf(error),
    });
    if (kernel) await forget(parts, kernel);
    return null;
  }
}

/** @throws naming what is missing. */
async function readAdoption(parts: LifecycleParts, handle: KernelHandle): Promise<Adoption> {
  const { backend, clock, resources, settings } = parts;
  const limit = { timeoutMs: TIME_LIMITS.inspectMs, what: `inspecting container ${handle.containerId}` };
  const state = await within(backend.inspect(handle), limit);
  if (state.status !== 'running') throw new ValueError(`its container does not run: it is ${state.status}`);
  const details = await within(backend.details?.(handle) ?? Promise.resolve(null), limit);
  if (details?.scratch == null) throw new ValueError('nothing says where its scratch directory is');
  if (basename(details.scratch) !== handle.kernelId)
    throw new ValueError(`${details.scratch} is not the scratch directory of this kernel`);
  const { endpoints } = state;
  const recorded = await readRecord(parts, details.scratch, handle);
  if (recorded) return adoptionOf(recorded, { details, handle, endpoints });
  const config = join(details.scratch, 'config');
  const resourceText = await readIfThere(join(config, 'resource.txt'));
  if (resourceText === null) throw new ValueError('it has no resource.txt');
  const { allocation, mounts } = readResources(resources, resourceText);
  const facts = factsOfFound(
    {
      handle,
      details,
      endpoints,
      allocation,
      mounts,
      environ: await readIfThere(join(config, 'environ.txt')),
      cluster: await readIfThere(join(config, 'cluster.json')),
    },
    { architecture: settings.architecture, nowMs: clock.nowMs(), scratchRoot: dirname(details.scratch) },
  );
  return { facts, mounts };
}

/** From the record in its scratch directory, which was written before the container was made. Pure. */
function adoptionOf(
  recorded: KernelFacts,
  now: {
    readonly details: KernelDetails;
    readonly handle: KernelHandle;
    readonly endpoints: RunnerEndpoints;
  },
): Adoption {
  const scratch = now.details.scratch ?? '';
  return {
    mounts: specMounts(recorded.request.config, scratchPaths(dirname(scratch), basename(scratch))),
    facts: {
      ...recorded,
      state: { name: 'running' },
      startedAtMs: now.details.createdAtMs ?? recorded.createdAtMs,
      scratchRoot: dirname(scratch),
      handle: now.handle,
      endpoints: now.endpoints,
      result: null,
      startAnnounced: true,
      termination: null,
    },
  };
}

/** One that is damaged, or another's, counts as none. */
async function readRecord(
  { agentId, logger }: LifecycleParts,
  scratch: string,
  { kernelId }: KernelHandle,
): Promise<KernelFacts | null> {
  try {
    const facts = await readScratchRecord(scratch);
    return facts?.agentId === agentId &&
      facts.request.kernelId === kernelId &&
      facts.allocation &&
      facts.ports
      ? facts
      : null;
  } catch (error) {
    logger.warn('the record in a scratch directory cannot be read', {
      kernelId,
      scratch,
      error: messageOf(error),
    });
    return null;
  }
}

/** Books what the kernel has, waits for its runner and keeps a record. @throws when another kernel has some of it. */
async function enter(parts: LifecycleParts, kernel: Kernel, mounts: ResourceSpec['mounts']): Promise<void> {
  const { resources, ports, registry, runners, settings, journal, logger } = parts;
  const { allocation, ports: held, handle, endpoints } = kernel;
  if (!allocation || !held || !handle || !endpoints) throw new ValueError('its record is incomplete');
  resources.restore(kernel.id, allocation);
  ports.restore(kernel.id, held.booked);
  registry.add(kernel);
  const apps = await runners.connect(kernel.id, endpoints).waitReady({
    ...settings.readiness,
    totalTimeoutMs: Math.min(settings.readiness.totalTimeoutMs, TIME_LIMITS.adoptionMs),
    signal: AbortSignal.timeout(TIME_LIMITS.adoptionMs),
  });
  const servicePorts = mergeApps(kernel.servicePorts, apps);
  const result = creationResult(parts, { kernel, allocation, ports: held, servicePorts, handle, mounts });
  kernel.learn({ servicePorts, result });
  await parts.relays?.reopen(planRelays(kernel.request, settings.socketDirectory)).catch((error: unknown) => {
    logger.error('cannot reopen the domain socket proxies of a kernel', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
  });
  // Without one the next start takes it over again.
  await journal.record(kernel).catch((error: unknown) => {
    logger.error('cannot keep a record of a kernel that was taken over', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
  });
}

/** @throws ValueError */
function readResources(resources: LifecycleParts['resources'], text: string) {
  try {
    return resources.readResourceText(text);
  } catch (error) {
    throw new ValueError(`its resource.txt cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

async function forget(
  { resources, ports, registry, runners }: LifecycleParts,
  kernel: Kernel,
): Promise<void> {
  await runners.disconnect(kernel.id).catch(() => undefined);
  resources.free(kernel.id);
  ports.releaseAll(kernel.id);
  if (registry.find(kernel.id) === kernel) registry.remove(kernel.id);
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}
