import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../core/ids.js';
import type { KernelHandle, KernelPlan, RunnerEndpoints } from '../backend.js';
import { HOME, type ShownFolder } from '../files/work-tree.js';
import type { Container } from './engine-schemas.js';

/** Whose a container is: the agent's id (spec/kernel-lifecycle.md 2.16.2). */
export const OWNER_LABEL = 'ai.backend.owner';
export const KERNEL_LABEL = 'ai.backend.kernel-id';
const SESSION_LABEL = 'ai.backend.session-id';
const AGENT_LABEL = 'ai.backend.agent-id';
/** The backend's own facts, so that a daemon that knows nothing makes the same handle again. */
const STATE_LABEL = 'ai.backend.splenium.state';
/** What makes a container somebody's kernel. */
export const IDENTITY_LABELS = [OWNER_LABEL, KERNEL_LABEL, SESSION_LABEL, AGENT_LABEL, STATE_LABEL] as const;

export const REPL_IN_PORT = 2000;
export const REPL_OUT_PORT = 2001;

const stateSchema = z.object({
  /** The work directory on this machine. */
  work: z.string(),
  folders: z.array(z.object({ at: z.string(), source: z.string(), permission: z.enum(['ro', 'rw']) })),
  /** Whom uploaded files belong to; null: to the daemon's user. */
  uid: z.number().nullable(),
  gid: z.number().nullable(),
  replIn: z.string(),
  replOut: z.string(),
  /** `2000/tcp` -> the host ports that are reserved for it; empty on the machine's own network. */
  published: z.record(z.string(), z.array(z.number())).default({}),
  /** Networks of its devices, joined after each start. */
  networks: z.array(z.string()).default([]),
});

/** The backend's facts in `KernelHandle.state`. */
export type ContainerState = z.infer<typeof stateSchema>;

/** @throws ZodError for a handle of another backend or a damaged journal. */
export const stateOf = (handle: KernelHandle): ContainerState => stateSchema.parse(handle.state);

/** Where the runner inside is reached. */
export function endpointsOf(handle: KernelHandle): RunnerEndpoints {
  const { replIn, replOut } = stateOf(handle);
  return { replIn, replOut };
}

/** All labels of the container: the plan's, those that say whose it is, and the backend's facts. */
export const labelsOf = (
  plan: Pick<KernelPlan, 'agentId' | 'kernelId' | 'sessionId' | 'labels'>,
  state: ContainerState,
): Record<string, string> => ({
  ...plan.labels,
  [KERNEL_LABEL]: plan.kernelId,
  [SESSION_LABEL]: plan.sessionId,
  [OWNER_LABEL]: plan.agentId,
  [AGENT_LABEL]: plan.agentId,
  [STATE_LABEL]: JSON.stringify(state),
});

export const loopback = (port: number): string => `tcp://127.0.0.1:${String(port)}`;

/** Folders that cover something of the work directory in the kernel's view. */
export function foldersOf(
  mounts: readonly { readonly source: string; readonly target: string; readonly permission: 'ro' | 'rw' }[],
): ShownFolder[] {
  return mounts.flatMap(({ source, target, permission }) => {
    const place = target.replace(/\/+$/, '');
    return place.startsWith(`${HOME}/`) && isAbsolute(source)
      ? [{ at: place.slice(HOME.length + 1), source, permission }]
      : [];
  });
}

const idsSchema = z.object({
  [OWNER_LABEL]: z.string().transform(parseAgentId),
  [KERNEL_LABEL]: z.string().transform(parseKernelId),
  [SESSION_LABEL]: z.string().transform(parseSessionId),
});

const handleOf = (
  id: string,
  labels: Readonly<Record<string, string>>,
  state: ContainerState,
): KernelHandle => {
  const ids = idsSchema.parse(labels);
  return {
    version: 1,
    backend: 'docker',
    agentId: ids[OWNER_LABEL],
    kernelId: ids[KERNEL_LABEL],
    sessionId: ids[SESSION_LABEL],
    containerId: asContainerId(id),
    state,
  };
};

/** Null for a container of another program. @throws ZodError or SyntaxError when its labels are damaged. */
export function handleFromLabels(id: string, labels: Readonly<Record<string, string>>): KernelHandle | null {
  const text = labels[STATE_LABEL];
  return text === undefined ? null : handleOf(id, labels, stateSchema.parse(JSON.parse(text)));
}

/**
 * The handle of a container that the original's agent has made, from its mounts and ports
 * (spec/kernel-lifecycle.md 9.3 R2). Null when it is no kernel of this kind.
 * @throws ZodError or ValueError when its labels are damaged.
 */
export function adoptedHandle(container: Container): KernelHandle | null {
  const mounts = container.Mounts.flatMap(({ Source, Destination, RW }) =>
    Source === undefined
      ? []
      : [{ source: Source, target: Destination, permission: RW ? ('rw' as const) : ('ro' as const) }],
  );
  const work = mounts.find(({ target }) => target === HOME);
  const port = (inside: number) =>
    Number(container.HostConfig.PortBindings[`${String(inside)}/tcp`]?.[0]?.HostPort ?? NaN);
  const [replIn, replOut] = [port(REPL_IN_PORT), port(REPL_OUT_PORT)];
  if (work === undefined || Number.isNaN(replIn) || Number.isNaN(replOut)) return null;
  return handleOf(container.Id, container.Config.Labels, {
    work: work.source,
    folders: foldersOf(mounts),
    uid: null,
    gid: null,
    replIn: loopback(replIn),
    replOut: loopback(replOut),
    published: {},
    networks: [],
  });
}
