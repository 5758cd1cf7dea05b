import { ImageRef } from '../../../src/codec/index.js';
import { kernelCreationArguments } from '../../../src/client/kernel-spec.js';
import type { SessionRow } from './session-table.js';

export interface SessionSpec {
  readonly image: string;
  /** Default: the image's own, whatever it is. */
  readonly digest?: string;
  readonly autoPull?: 'digest' | 'tag' | 'none';
  readonly labels: Readonly<Record<string, string>>;
  /** One kernel each, in this order; the first is the main one. */
  readonly agents: readonly string[];
  readonly type?: 'interactive' | 'batch';
  /** Of a batch session. */
  readonly startupCommand?: string;
  /** Labels of the last kernel, for one that cannot start. */
  readonly lastLabels?: Readonly<Record<string, string>>;
}

/** Arguments of `create_kernels` for all kernels of one agent; null when it has none of them. */
export function creationArguments(spec: SessionSpec, session: SessionRow, agentId: string) {
  const places = session.kernels.flatMap((kernel, place) => (kernel.agentId === agentId ? [place] : []));
  const args = places.map((place) => argumentsOf(spec, session, place));
  const [first] = args;
  return (
    first && {
      ...first,
      raw_kernel_ids: args.flatMap(({ raw_kernel_ids: ids }) => ids),
      raw_configs: args.flatMap(({ raw_configs: configs }) => configs),
      kernel_image_refs: new Map(args.flatMap(({ kernel_image_refs: refs }) => [...refs])),
    }
  );
}

/** The image's configuration for `check_and_pull`. */
export function imageConfig(spec: SessionSpec, session: SessionRow) {
  const [config] = argumentsOf(spec, session, 0).raw_configs;
  if (!config) throw new Error('a session without kernels');
  return config.image;
}

function argumentsOf(spec: SessionSpec, session: SessionRow, place: number) {
  const kernel = session.kernels[place];
  const isLast = place === session.kernels.length - 1;
  const args = kernelCreationArguments({
    image: spec.image,
    sessionId: session.id,
    ...(kernel && { kernelId: kernel.id }),
    ...(spec.digest !== undefined && { digest: spec.digest }),
    autoPull: spec.autoPull ?? 'none',
    labels: isLast && spec.lastLabels ? spec.lastLabels : spec.labels,
    sessionType: session.type,
    resourceSlots: { cpu: '1', mem: '67108864' },
  });
  const [role, index] = place === 0 ? ['main', 1] : ['sub', place];
  const size = session.kernels.length;
  return {
    ...args,
    raw_configs: args.raw_configs.map((config) => ({
      ...config,
      image: { ...config.image, is_local: false },
      cluster_role: role,
      cluster_idx: index,
      cluster_hostname: `${role}${String(index)}`,
    })),
    raw_cluster_info: {
      ...args.raw_cluster_info,
      size,
      replicas: size === 1 ? { main: 1 } : { main: 1, sub: size - 1 },
    },
    kernel_image_refs: new Map([...args.kernel_image_refs].map(([id, ref]) => [id, notLocal(ref)])),
  };
}

function notLocal({ name, project, tag, registry, architecture }: ImageRef): ImageRef {
  return new ImageRef({ name, project, tag, registry, architecture, isLocal: false });
}
