import { z } from 'zod';
import { ValueError } from '../core/errors.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../core/ids.js';
import type { KernelFacts } from './kernel.js';
import { CREATION_STEPS } from './kernel-state.js';
import { modelSchema } from './models/definition.js';

/**
 * The form in which the journal keeps a kernel: JSON with a version. A change that an older reader would
 * misunderstand raises the version; a reader takes the versions it knows and none other.
 */
export const RECORD_VERSION = 1;

const agentId = z.string().transform(parseAgentId);
const kernelId = z.string().transform(parseKernelId);
const sessionId = z.string().transform(parseSessionId);
const containerId = z.string().transform(asContainerId);
/** JSON has no big integers: their decimal text. */
const bigInteger = z
  .string()
  .regex(/^-?\d{1,40}$/)
  .transform((text) => BigInt(text));
const texts = z.record(z.string(), z.string());
const sshKeypair = z.object({ publicKey: z.string(), privateKey: z.string() }).nullable();
const permission = z.enum(['ro', 'rw', 'wd']);

const creationConfig = z.object({
  image: z.object({
    canonical: z.string(),
    digest: z.string(),
    architecture: z.string(),
    isLocal: z.boolean(),
    autoPull: z.enum(['digest', 'tag', 'none']),
    registry: z
      .object({ name: z.string(), username: z.string().nullable(), password: z.string().nullable() })
      .nullable(),
    labels: texts,
    project: z.string().nullable(),
  }),
  networkId: z.string(),
  sessionType: z.enum(['interactive', 'batch', 'inference', 'system']),
  clusterRole: z.string(),
  clusterHostname: z.string(),
  uid: z.int().nullable(),
  mainGid: z.int().nullable(),
  supplementaryGids: z.array(z.int()),
  resourceSlots: texts,
  resourceOpts: z.object({
    shmemBytes: bigInteger.nullable(),
    allowFractionalResourceFragmentation: z.boolean(),
  }),
  environ: texts,
  mounts: z.array(
    z.object({
      name: z.string(),
      vfid: z.string(),
      vfsubpath: z.string(),
      hostPath: z.string(),
      kernelPath: z.string(),
      permission,
      usageMode: z.enum(['general', 'model', 'data']),
    }),
  ),
  internalData: z.object({
    dotfiles: z.array(z.object({ path: z.string(), data: z.string(), perm: z.string() })),
    sshKeypair,
    dockerCredentials: z.record(z.string(), z.unknown()).nullable(),
    domainSocketProxies: z.array(z.string()),
    blockServicePorts: z.boolean(),
    sudoSessionEnabled: z.boolean(),
    preventVfolderMounts: z.boolean(),
    runtimeVariant: z.exactOptional(z.string()),
    modelDefinitionPath: z.exactOptional(z.string()),
    modelDefinition: z.exactOptional(z.record(z.string(), z.unknown())),
  }),
  preopenPorts: z.array(z.int()),
  allocatedHostPorts: z.array(z.int()),
  bootstrapScript: z.string().nullable(),
  scalingGroup: z.string(),
  agentAddr: z.string(),
  ownerUserId: z.string().nullable(),
  ownerProjectId: z.string().nullable(),
});

const creationRequest = z.object({
  sessionId,
  kernelId,
  config: creationConfig,
  cluster: z.object({
    mode: z.string(),
    size: z.int(),
    replicas: z.record(z.string(), z.int()),
    networkConfig: z.record(z.string(), z.unknown()),
    sshKeypair,
    clusterSshPortMapping: z.record(z.string(), z.tuple([z.string(), z.int()])).nullable(),
  }),
  imageRef: z.object({ canonical: z.string(), architecture: z.string(), isLocal: z.boolean() }),
});

const servicePort = z.object({
  name: z.string(),
  protocol: z.enum(['http', 'tcp', 'preopen', 'internal', 'vnc', 'rdp']),
  containerPorts: z.array(z.int()),
  hostPorts: z.array(z.int().nullable()),
  isInference: z.boolean(),
  urlTemplate: z.exactOptional(z.string()),
  allowedArguments: z.exactOptional(z.array(z.string())),
  allowedEnvs: z.exactOptional(z.array(z.string())),
});

const allocation = z.object({
  slots: texts,
  allocations: z.record(z.string(), z.record(z.string(), texts)),
  shmemBytes: z.exactOptional(z.string().nullable()),
});

const creationResult = z.object({
  id: kernelId,
  containerId: z.string(),
  kernelHost: z.string(),
  replInPort: z.int(),
  replOutPort: z.int(),
  servicePorts: z.array(servicePort),
  resourceSpec: allocation.extend({
    scratchDiskSizeBytes: z.int(),
    mounts: z.array(
      z.object({
        type: z.enum(['bind', 'volume', 'tmpfs']),
        source: z.string().nullable(),
        target: z.string(),
        permission,
      }),
    ),
  }),
  attachedDevices: z.record(
    z.string(),
    z.array(
      z.object({
        deviceId: z.string(),
        modelName: z.string(),
        data: z.object({
          cores: z.exactOptional(z.number()),
          memBytes: z.exactOptional(bigInteger),
          smp: z.exactOptional(z.number()),
        }),
      }),
    ),
  ),
  agentAddr: z.string(),
  scalingGroup: z.string(),
});

const step = z.enum(CREATION_STEPS);
const state = z.discriminatedUnion('name', [
  z.object({ name: z.literal('preparing'), step }),
  z.object({ name: z.literal('running') }),
  z.object({ name: z.literal('restarting'), step }),
  z.object({ name: z.literal('terminating'), reason: z.string() }),
  z.object({ name: z.literal('terminated'), reason: z.string() }),
]);

const handle = z.object({
  version: z.literal(1),
  backend: z.enum(['process', 'docker', 'dummy']),
  agentId,
  kernelId,
  sessionId,
  containerId,
  state: z.record(z.string(), z.unknown()),
});

const record = z.object({
  version: z.literal(RECORD_VERSION),
  agentId,
  request: creationRequest,
  state,
  createdAtMs: z.number(),
  startedAtMs: z.number().nullable(),
  scratchRoot: z.string().nullable().default(null),
  allocation: allocation.nullable(),
  ports: z.object({ replIn: z.int(), replOut: z.int(), booked: z.array(z.int()) }).nullable(),
  servicePorts: z.array(servicePort),
  models: z.exactOptional(z.array(modelSchema)),
  modelsAnswered: z.exactOptional(z.boolean()),
  handle: handle.nullable(),
  endpoints: z.object({ replIn: z.string(), replOut: z.string() }).nullable(),
  result: creationResult.nullable(),
  startAnnounced: z.boolean(),
  termination: z
    .object({
      reason: z.string(),
      suppressEvents: z.boolean(),
      exitCode: z.int().nullable(),
      detail: z.exactOptional(z.string()),
      announced: z.boolean(),
    })
    .nullable(),
});

/** One line of JSON. Holds what the creation request holds, key pairs and credentials included: mode 0600 on disk. */
export function encodeRecord(facts: KernelFacts): string {
  return JSON.stringify({ version: RECORD_VERSION, ...facts }, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

/** @throws Error when the text is not a record of a known version. Its message never quotes the record. */
export function decodeRecord(text: string): KernelFacts {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes what it read, and a record holds keys.
    throw new ValueError('not JSON');
  }
  const result = record.safeParse(value);
  if (!result.success)
    throw new ValueError(
      result.error.issues
        .slice(0, 3)
        .map((issue) => `${issue.path.join('.') || 'record'}: ${issue.message}`)
        .join('; '),
    );
  const facts: Omit<typeof result.data, 'version'> & { version?: number } = result.data;
  delete facts.version;
  return facts;
}
