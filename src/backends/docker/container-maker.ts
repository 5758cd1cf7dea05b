import { stat } from 'node:fs/promises';
import { throwIfCancelled } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { KernelHandle, KernelPlan } from '../backend.js';
import { agentSocketLink, agentSocketMount, withMount } from './agent-socket-mount.js';
import { hasOwnPorts } from './container-networks.js';
import { publishedOf } from './container-ports.js';
import {
  containerNameOf,
  containerSpecOf,
  imageNameOf,
  type ContainerSettings,
  type ContainerSpec,
} from './container-spec.js';
import type { Engine } from './engine.js';
import { findEngineFacts } from './engine-facts.js';
import { statusOf } from './engine-failures.js';
import { ContainerStartError, ImageMissingError, KernelContainerExistsError } from './errors.js';
import type { KernelContainers } from './kernel-containers.js';
import {
  foldersOf,
  handleFromLabels,
  KERNEL_LABEL,
  labelsOf,
  loopback,
  type ContainerState,
} from './kernel-labels.js';
import type { OriginalRunner } from './original-runner.js';
import { checkMounts } from './settings.js';

export interface ContainerMakerOptions {
  readonly engine: Engine;
  readonly kernels: KernelContainers;
  readonly settings: ContainerSettings;
  /** Null: kernels get ours. */
  readonly originalRunner: OriginalRunner | null;
  /** Folders may be mounted from below these directories only; undefined: from anywhere. */
  readonly allowedMountRoots: readonly string[] | undefined;
  /** Where agents have their sockets; undefined: kernels get none. */
  readonly agentSockets: string | undefined;
  readonly logger: Logger;
}

/** Makes a container of a kernel's plan: what it is made of is found out first, then the engine makes it. */
export class ContainerMaker {
  readonly #options: ContainerMakerOptions;

  constructor(options: ContainerMakerOptions) {
    this.#options = options;
  }

  /** Name and options of the container, exactly as the engine would be asked for it. @throws MountRefusedError */
  async describe(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>> {
    await checkMounts(plan, this.#options.allowedMountRoots);
    const { name, spec } = await this.#containerOf(plan);
    return { name, options: spec };
  }

  /**
   * One that does not run. A failure leaves nothing behind.
   * @throws KernelContainerExistsError when the kernel has one already, ImageMissingError, MountRefusedError,
   * ContainerStartError for an unusable plan, CancelledError.
   */
  async make(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    const { engine, kernels, allowedMountRoots } = this.#options;
    const what = `kernel ${plan.kernelId}`;
    throwIfCancelled(signal, what);
    for (const directory of [plan.scratch.work, plan.scratch.config])
      if (!(await stat(directory).catch(() => null))?.isDirectory())
        throw new ContainerStartError(`${what} has no directory at ${directory}`);
    await checkMounts(plan, allowedMountRoots);
    const { name, labels, needsLink, spec } = await this.#containerOf(plan);
    throwIfCancelled(signal, what);
    const id = await this.#create(plan, name, spec);
    try {
      if (needsLink) await engine.containers.unpack(id, agentSocketLink());
      throwIfCancelled(signal, what);
    } catch (error) {
      await engine.containers.remove(id);
      throw error;
    }
    const handle = handleFromLabels(id, labels);
    if (handle === null) throw new ContainerStartError(`${what} has no labels`);
    kernels.learn(handle, 'fresh');
    return handle;
  }

  /**
   * Its name refuses a second container of the kernel with the same image. One with another image is looked for
   * meanwhile, which costs no time beside the creation; then the new one goes.
   */
  async #create(plan: KernelPlan, name: string, spec: ContainerSpec): Promise<string> {
    const { containers } = this.#options.engine;
    const looking = containers.list([`${KERNEL_LABEL}=${plan.kernelId}`]);
    looking.catch(() => undefined);
    const id = await containers.create(name, spec).catch((error: unknown) => {
      throw creationFailure(plan, error);
    });
    try {
      if ((await looking).some(({ Id }) => Id !== id)) throw alreadyThere(plan);
    } catch (error) {
      await containers.remove(id);
      throw error;
    }
    return id;
  }

  /** Everything that the engine is asked for, from the plan and what the engine has. */
  async #containerOf(plan: KernelPlan) {
    const { engine, settings, originalRunner, agentSockets, logger } = this.#options;
    if ((plan.allowedSyscalls ?? []).length > 0 && settings.seccompProfile === null)
      logger.warn('devices need system calls that only a profile of splenium.docker can allow', {
        kernelId: plan.kernelId,
        syscalls: plan.allowedSyscalls,
      });
    const labels = labelsOf(plan, stateFor(plan, settings));
    const socket = await agentSocketMount(agentSockets, plan.agentId);
    const found = await findEngineFacts(engine, plan);
    const started = await originalRunner?.startOf(plan, imageNameOf(plan));
    const all = started === undefined ? settings : { ...settings, originalRunner: started };
    const spec = containerSpecOf(withMount(plan, socket), labels, all, found);
    // Our entry point links the socket by itself where it starts as root.
    const needsLink = socket !== null && (started !== undefined || spec.User !== '0:0');
    return { name: containerNameOf(plan), labels, needsLink, spec };
  }
}

function stateFor(plan: KernelPlan, settings: ContainerSettings): ContainerState {
  const { uid, gid } = plan.identity;
  // Only root can give a file to somebody.
  const mayGive = settings.ownIdentity.uid === 0 && uid !== null;
  return {
    work: plan.scratch.work,
    folders: foldersOf(plan.mounts),
    uid: mayGive ? uid : null,
    gid: mayGive ? (gid ?? uid) : null,
    replIn: loopback(plan.replInPort),
    replOut: loopback(plan.replOutPort),
    published: hasOwnPorts(plan) ? {} : publishedOf(plan),
    networks: [...(plan.deviceNetworks ?? [])],
  };
}

function creationFailure(plan: KernelPlan, error: unknown): unknown {
  const status = statusOf(error);
  if (status === 409) return alreadyThere(plan, error);
  if (status === 404)
    return new ImageMissingError(`image ${plan.imageCanonical} is not on this machine: pull it first`, {
      cause: error,
    });
  if (status === 400)
    return new ContainerStartError(`kernel ${plan.kernelId}: ${messageOf(error)}`, { cause: error });
  return error;
}

const alreadyThere = (plan: KernelPlan, cause?: unknown) =>
  new KernelContainerExistsError(`kernel ${plan.kernelId} has a container already: remove it first`, {
    cause,
  });
