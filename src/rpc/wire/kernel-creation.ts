import { z } from 'zod';
import { KeyError, ValueError } from '../../core/errors.js';
import type { KernelId } from '../../core/ids.js';
import type {
  ClusterInfo,
  ImagePullRequest,
  InternalData,
  KernelCreationConfig,
  KernelImageRef,
  SshKeypair,
  VFolderMount,
} from '../../kernels/requests.js';
import {
  amount,
  anyMap,
  architecture,
  bool,
  enumOf,
  imageRef,
  int,
  kernelId,
  mapOf,
  pathText,
  text,
  uuid,
} from './scalars.js';

/** The structures of spec/rpc-functions.md 3.0, wire to request. Unknown keys are ignored, as in the original. */

const autoPull = enumOf(['digest', 'tag', 'none']);

const credentials = { username: text.nullish(), password: text.nullish() };

/** Credentials count only when both are non-empty. */
function registryAccess({ name, username, password }: RegistryFields) {
  const complete = Boolean(username) && Boolean(password);
  return {
    name,
    username: complete ? (username ?? null) : null,
    password: complete ? (password ?? null) : null,
  };
}

interface RegistryFields {
  readonly name: string;
  readonly username?: string | null | undefined;
  readonly password?: string | null | undefined;
}

const registry = z.object({ name: text, ...credentials }).transform(registryAccess);

/** ImageRegistry of a push: the image itself says which registry it is. */
export const pushRegistry = z
  .object({ name: text.default(''), ...credentials })
  .transform(registryAccess)
  .describe('ImageRegistry');

/** ImageConfig as `check_and_pull` needs it. */
export const imagePullRequest = z
  .object({
    canonical: text,
    project: text.nullable(),
    architecture,
    digest: text,
    registry,
    is_local: bool,
    auto_pull: autoPull,
  })
  .transform(({ is_local: isLocal, auto_pull: pull, ...image }): ImagePullRequest => ({
    ...image,
    isLocal,
    autoPull: pull,
  }))
  .describe('ImageConfig');

/** ImageConfig as `create_kernels` needs it; what is absent here is known from the kernel's image reference. */
const kernelImage = z.object({
  canonical: text,
  digest: text,
  labels: mapOf(text),
  project: text.nullish(),
  architecture: architecture.optional(),
  registry: registry.nullish(),
  is_local: bool.optional(),
});

const sshKeypair = z
  .object({ public_key: text, private_key: text })
  .transform((pair): SshKeypair => ({ publicKey: pair.public_key, privateKey: pair.private_key }));

const mount = z
  .object({
    name: text,
    vfid: text,
    vfsubpath: pathText.default('.'),
    host_path: pathText,
    kernel_path: pathText,
    mount_perm: enumOf(['ro', 'rw', 'wd']),
    usage_mode: enumOf(['general', 'model', 'data']).nullish(),
  })
  .transform((folder): VFolderMount => ({
    name: folder.name,
    vfid: folder.vfid,
    vfsubpath: folder.vfsubpath,
    hostPath: folder.host_path,
    kernelPath: folder.kernel_path,
    permission: folder.mount_perm,
    usageMode: folder.usage_mode ?? 'general',
  }));

const internalData = z
  .object({
    dotfiles: z.array(z.object({ path: text, data: text, perm: text })).nullish(),
    ssh_keypair: sshKeypair.nullish(),
    docker_credentials: anyMap.nullish(),
    domain_socket_proxies: z.array(text).nullish(),
    block_service_ports: bool.nullish(),
    sudo_session_enabled: bool.nullish(),
    prevent_vfolder_mounts: bool.nullish(),
    runtime_variant: text.nullish(),
    model_definition_path: pathText.nullish(),
    model_definition: anyMap.nullish(),
  })
  .nullable()
  .transform((data): InternalData => ({
    dotfiles: data?.dotfiles ?? [],
    sshKeypair: data?.ssh_keypair ?? null,
    dockerCredentials: data?.docker_credentials ?? null,
    domainSocketProxies: data?.domain_socket_proxies ?? [],
    blockServicePorts: data?.block_service_ports ?? false,
    sudoSessionEnabled: data?.sudo_session_enabled ?? false,
    preventVfolderMounts: data?.prevent_vfolder_mounts ?? false,
    ...(data?.runtime_variant ? { runtimeVariant: data.runtime_variant } : {}),
    ...(data?.model_definition_path ? { modelDefinitionPath: data.model_definition_path } : {}),
    ...(data?.model_definition ? { modelDefinition: data.model_definition } : {}),
  }));

/** `shmem` comes as a number of bytes or as its text. */
const byteCount = z.union([z.int(), z.bigint(), z.string()]).transform((count) => {
  const digits = String(count).trim();
  if (!/^\d+$/.test(digits))
    throw new ValueError(`resource_opts.shmem: '${digits.slice(0, 40)}' is no number of bytes`);
  return BigInt(digits);
});

const resourceOpts = z
  .object({ shmem: byteCount.nullish(), allow_fractional_resource_fragmentation: bool.nullish() })
  .transform((options) => ({
    shmemBytes: options.shmem ?? null,
    allowFractionalResourceFragmentation: options.allow_fractional_resource_fragmentation ?? true,
  }));

/** A KernelCreationConfig before it meets its image reference. */
export const kernelCreationConfig = z
  .object({
    image: kernelImage,
    auto_pull: autoPull.nullish(),
    network_id: text,
    session_type: enumOf(['interactive', 'batch', 'inference', 'system']),
    cluster_role: text,
    cluster_hostname: text,
    uid: int.nullable(),
    main_gid: int.nullable(),
    supplementary_gids: z.array(int),
    resource_slots: mapOf(amount),
    resource_opts: resourceOpts,
    environ: mapOf(amount),
    mounts: z.array(mount),
    internal_data: internalData,
    preopen_ports: z.array(int).nullish(),
    allocated_host_ports: z.array(int).nullish(),
    bootstrap_script: text.nullish(),
    scaling_group: text,
    agent_addr: text,
    owner_user_id: uuid.nullish(),
    owner_project_id: uuid.nullish(),
  })
  .describe('KernelCreationConfig');

/** Joins a configuration with its image reference, which decides about architecture and locality. */
export function completeConfig(
  config: z.output<typeof kernelCreationConfig>,
  ref: KernelImageRef,
): KernelCreationConfig {
  const { image } = config;
  return {
    image: {
      canonical: image.canonical,
      digest: image.digest,
      labels: image.labels,
      project: image.project ?? null,
      architecture: image.architecture ?? ref.architecture,
      isLocal: image.is_local ?? ref.isLocal,
      autoPull: config.auto_pull ?? 'digest',
      registry: image.registry ?? null,
    },
    networkId: config.network_id,
    sessionType: config.session_type,
    clusterRole: config.cluster_role,
    clusterHostname: config.cluster_hostname,
    uid: config.uid,
    mainGid: config.main_gid,
    supplementaryGids: config.supplementary_gids,
    resourceSlots: config.resource_slots,
    resourceOpts: config.resource_opts,
    environ: config.environ,
    mounts: config.mounts,
    internalData: config.internal_data,
    preopenPorts: config.preopen_ports ?? [],
    allocatedHostPorts: config.allocated_host_ports ?? [],
    bootstrapScript: config.bootstrap_script ?? null,
    scalingGroup: config.scaling_group,
    agentAddr: config.agent_addr,
    ownerUserId: config.owner_user_id ?? null,
    ownerProjectId: config.owner_project_id ?? null,
  };
}

export const clusterInfo = z
  .object({
    mode: enumOf(['single-node', 'multi-node']).default('single-node'),
    size: int.default(1),
    replicas: mapOf(int).default({}),
    network_config: anyMap,
    ssh_keypair: sshKeypair.nullable(),
    cluster_ssh_port_mapping: mapOf(z.tuple([text, int])).nullish(),
  })
  .transform((info): ClusterInfo => ({
    mode: info.mode,
    size: info.size,
    replicas: info.replicas,
    networkConfig: info.network_config,
    sshKeypair: info.ssh_keypair,
    clusterSshPortMapping: info.cluster_ssh_port_mapping ?? null,
  }))
  .describe('ClusterInfo');

/** Kernel id -> image reference; the keys are `ext(UUID)` on the wire and their text once unpacked. */
export const kernelImageRefs = z
  .union([z.record(z.string(), imageRef), z.map(kernelId, imageRef)])
  .transform((refs): ReadonlyMap<KernelId, KernelImageRef> => {
    if (refs instanceof Map) return refs;
    return new Map(Object.entries(refs).map(([id, ref]) => [kernelId.parse(id), ref]));
  })
  .describe('map<ext(UUID),ext(IMAGE_REF)>');

const plainImageRef = z
  .object({ canonical: text, architecture: architecture.default('x86_64'), is_local: bool.default(false) })
  .transform((ref): KernelImageRef => ({
    canonical: ref.canonical,
    architecture: ref.architecture,
    isLocal: ref.is_local,
  }));

/** The same, and plain maps for callers whose requests are JSON, without extension types. */
export const imageRefs = z
  .union([kernelImageRefs, z.record(z.string(), plainImageRef).transform(byKernelId)])
  .describe('map<ext(UUID),ext(IMAGE_REF)> or map<uuid-str,{canonical,architecture?,is_local?}>');

function byKernelId(refs: Readonly<Record<string, KernelImageRef>>): ReadonlyMap<KernelId, KernelImageRef> {
  return new Map(Object.entries(refs).map(([id, ref]) => [kernelId.parse(id), ref]));
}

/** @throws KeyError, as Python's map access would. */
export function imageRefOf(refs: ReadonlyMap<KernelId, KernelImageRef>, id: KernelId): KernelImageRef {
  const ref = refs.get(id);
  if (!ref) throw new KeyError(id);
  return ref;
}
