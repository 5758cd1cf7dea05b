import { randomUUID } from 'node:crypto';
import { ImageRef, Uuid } from '../codec/index.js';
import { ValueError } from '../core/errors.js';

/** What one needs to say about a kernel; everything but the image has a default (spec/rpc-functions.md 2.4). */
export interface KernelSpec {
  /** Canonical name: `registry/project/name:tag`. */
  readonly image: string;
  readonly kernelId?: string;
  readonly sessionId?: string;
  readonly architecture?: string;
  /** Digest of the image in the engine; needed only under the pull policy `digest`. */
  readonly digest?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly autoPull?: 'digest' | 'tag' | 'none';
  /** Slot name -> decimal text. Default: one cpu and 1 GiB of memory. */
  readonly resourceSlots?: Readonly<Record<string, string>>;
  readonly environ?: Readonly<Record<string, string>>;
  readonly sessionType?: 'interactive' | 'batch' | 'inference' | 'system';
  readonly bootstrapScript?: string;
  readonly preopenPorts?: readonly number[];
  readonly scalingGroup?: string;
}

const GIB = 1024 ** 3;

/** The arguments of `create_kernels` for one kernel in a session of its own. @throws ValueError for a bad image name. */
export function kernelCreationArguments(spec: KernelSpec) {
  const { kernelId = randomUUID(), sessionId = randomUUID(), autoPull = 'none' } = spec;
  const imageRef = parseCanonical(spec.image, spec.architecture ?? hostArchitecture());
  return {
    raw_session_id: sessionId,
    raw_kernel_ids: [kernelId],
    raw_configs: [
      {
        image: {
          canonical: imageRef.canonical,
          project: imageRef.project,
          architecture: imageRef.architecture,
          digest: spec.digest ?? '',
          repo_digest: null,
          registry: { name: imageRef.registry, url: '', username: null, password: null },
          labels: { ...spec.labels },
          is_local: imageRef.isLocal,
          auto_pull: autoPull,
        },
        kernel_id: kernelId,
        session_id: sessionId,
        network_id: sessionId,
        session_type: spec.sessionType ?? 'interactive',
        cluster_mode: 'single-node',
        cluster_role: 'main',
        cluster_idx: 1,
        cluster_hostname: 'main1',
        local_rank: 0,
        uid: null,
        main_gid: null,
        supplementary_gids: [],
        resource_slots: spec.resourceSlots ?? { cpu: '1', mem: String(GIB) },
        resource_opts: {},
        environ: { ...spec.environ },
        mounts: [],
        package_directory: [],
        idle_timeout: 0,
        bootstrap_script: spec.bootstrapScript ?? null,
        startup_command: null,
        internal_data: null,
        auto_pull: autoPull,
        preopen_ports: [...(spec.preopenPorts ?? [])],
        allocated_host_ports: [],
        agent_addr: '',
        scaling_group: spec.scalingGroup ?? 'default',
        endpoint_id: null,
        owner_user_id: null,
        owner_project_id: null,
      },
    ],
    raw_cluster_info: {
      mode: 'single-node',
      size: 1,
      replicas: { main: 1 },
      network_config: {},
      ssh_keypair: null,
      cluster_ssh_port_mapping: null,
    },
    kernel_image_refs: new Map([[new Uuid(kernelId), imageRef]]),
  };
}

/** An image without a registry is local. */
function parseCanonical(canonical: string, architecture: string): ImageRef {
  const match = /^(?<path>[^:]+(?::\d+\/[^:]+)?):(?<tag>[^:/]+)$/.exec(canonical);
  const { path, tag } = match?.groups ?? {};
  const [name = '', ...before] = path?.split('/').reverse() ?? [];
  if (tag === undefined || name === '')
    throw new ValueError(`'${canonical}' is no image name: expected registry/project/name:tag`);
  const pieces = before.reverse();
  const [first, ...rest] = pieces;
  const hasRegistry = first !== undefined && (/[.:]/.test(first) || first === 'localhost');
  const project = (hasRegistry ? rest : pieces).join('/');
  return new ImageRef({
    name,
    project: project === '' ? null : project,
    tag,
    registry: hasRegistry ? first : '',
    architecture,
    isLocal: true,
  });
}

function hostArchitecture(): string {
  return process.arch === 'arm64' ? 'aarch64' : 'x86_64';
}
