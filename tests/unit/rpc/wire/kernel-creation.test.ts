import { createCodec, EnumValue, ImageRef, PosixPath, Uuid } from '../../../../src/codec/index.js';
import { decodeMessage } from '../../../../src/callosum/wire/message.js';
import {
  clusterInfo,
  completeConfig,
  imagePullRequest,
  imageRefOf,
  kernelCreationConfig,
  kernelImageRefs,
} from '../../../../src/rpc/wire/kernel-creation.js';
import { parseDefinition } from '../../../../src/kernels/models/definition.js';
import { parseKernelId } from '../../../../src/core/ids.js';
import { parseWire } from '../../../../src/rpc/wire/parse.js';
import { readVectors } from '../../../support/vectors.js';

interface Vector {
  readonly id: string;
  readonly method: string;
  readonly frames_hex: readonly [string, string, string];
}

const { requests } = readVectors<{ requests: readonly Vector[] }>('create_kernels-request.json');
const codec = createCodec();

/** The arguments as an agent unpacks them from the golden bytes. */
function argumentsOf({ frames_hex: [, header, body] }: Vector): unknown[] {
  const decoded = decodeMessage(Buffer.from(header, 'hex'), Buffer.from(body, 'hex'), {
    maxBodyBytes: 1 << 24,
  });
  if (!decoded.ok || decoded.message.type !== 'FUNCTION') throw new Error('not a request');
  return (codec.unpack(decoded.message.payload) as { args: unknown[] }).args;
}

function sessionTypeOf(id: string): string {
  if (id.includes('multi-node')) return 'inference';
  return id.includes('two-kernels') ? 'batch' : 'interactive';
}

describe.each(requests.map((vector) => [vector.id, vector] as const))('%s', (id, vector) => {
  const [, ids, configs, cluster, refs] = argumentsOf(vector) as [
    unknown,
    string[],
    unknown[],
    unknown,
    unknown,
  ];
  const imageRefs = parseWire(kernelImageRefs, refs, 'kernel_image_refs');
  const [kernelId = ''] = ids;

  test('its configurations are understood', () => {
    const config = parseWire(kernelCreationConfig, configs[0], 'raw_configs');
    const complete = completeConfig(config, imageRefOf(imageRefs, parseKernelId(kernelId)));
    expect(complete).toEqual({
      image: {
        canonical: 'cr.backend.ai/stable/python:3.9-ubuntu20.04',
        digest: `sha256:${'ab'.repeat(32)}`,
        labels: expect.objectContaining({ 'ai.backend.runtime-type': 'python' }),
        project: 'stable',
        architecture: 'x86_64',
        isLocal: false,
        autoPull: 'digest',
        registry: { name: 'cr.backend.ai', username: null, password: null },
      },
      networkId: '5a4b3c2d-1e0f-4a5b-8c7d-6e5f4a3b2c1d',
      sessionType: sessionTypeOf(id),
      clusterRole: 'main',
      clusterHostname: id.includes('host-network') ? expect.any(String) : 'main1',
      uid: null,
      mainGid: null,
      supplementaryGids: [],
      resourceSlots: { cpu: '2', mem: '4294967296', 'cuda.shares': '0.5' },
      resourceOpts: { shmemBytes: 67_108_864n, allowFractionalResourceFragmentation: true },
      environ: expect.objectContaining({ MY_VAR: '1', BACKENDAI_KERNEL_ID: kernelId }),
      mounts: [
        {
          name: 'data',
          vfid: 'user:f38dea23-50fa-42a0-b5ae-338f5f4693f4/aa11bb22cc334d448e55ff6600112233',
          vfsubpath: '.',
          hostPath: '/vfroot/local/aa/11/bb22cc334d448e55ff6600112233',
          kernelPath: '/home/work/data',
          permission: 'rw',
          usageMode: 'general',
        },
      ],
      internalData: {
        dotfiles: [{ path: '.bashrc', perm: '644', data: 'export A=1\n' }],
        sshKeypair: null,
        dockerCredentials: null,
        domainSocketProxies: [],
        blockServicePorts: false,
        sudoSessionEnabled: false,
        preventVfolderMounts: false,
      },
      preopenPorts: [],
      allocatedHostPorts: expect.any(Array),
      bootstrapScript: null,
      scalingGroup: 'default',
      agentAddr: 'tcp://10.0.0.5:6001',
      ownerUserId: 'f38dea23-50fa-42a0-b5ae-338f5f4693f4',
      ownerProjectId: null,
    });
  });

  test('its cluster info is understood', () => {
    expect(parseWire(clusterInfo, cluster, 'raw_cluster_info')).toEqual({
      mode: id.includes('multi-node') ? 'multi-node' : 'single-node',
      size: ids.length,
      replicas: ids.length === 1 ? { main: 1 } : { main: 1, sub: 1 },
      networkConfig: expect.any(Object),
      sshKeypair: {
        publicKey: expect.stringMatching(/^ssh-rsa /),
        privateKey: expect.stringContaining('TEST KEY'),
      },
      clusterSshPortMapping: id.includes('host-network')
        ? expect.objectContaining({ [`node-${kernelId}`]: ['10.0.0.5', 30_001] })
        : null,
    });
  });

  test('each kernel has its image reference', () => {
    for (const kernel of ids)
      expect(imageRefOf(imageRefs, parseKernelId(kernel))).toEqual({
        canonical: 'cr.backend.ai/stable/python:3.9-ubuntu20.04',
        architecture: 'x86_64',
        isLocal: false,
      });
  });
});

const IMAGE = { canonical: 'python:3', digest: 'sha256:0', labels: {} };
const CONFIG = {
  image: IMAGE,
  network_id: 'n',
  session_type: 'batch',
  cluster_role: 'main',
  cluster_hostname: 'main1',
  uid: 1000,
  main_gid: null,
  supplementary_gids: [1, 2],
  resource_slots: { cpu: '1' },
  resource_opts: {},
  environ: {},
  mounts: [],
  internal_data: null,
  scaling_group: 'default',
  agent_addr: '',
};
const without = (map: object, key: string): object =>
  Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
const parseConfig = (changes: object) =>
  parseWire(kernelCreationConfig, { ...CONFIG, ...changes }, 'raw_configs');

describe('a creation configuration', () => {
  test('needs no more than the mandatory keys', () => {
    const ref = { canonical: 'python:3', architecture: 'aarch64', isLocal: true };
    expect(completeConfig(parseConfig({}), ref)).toMatchObject({
      image: { architecture: 'aarch64', isLocal: true, autoPull: 'digest', registry: null, project: null },
      uid: 1000,
      supplementaryGids: [1, 2],
      resourceOpts: { shmemBytes: null, allowFractionalResourceFragmentation: true },
      preopenPorts: [],
      allocatedHostPorts: [],
      ownerUserId: null,
    });
  });

  test('tells where the model of an inference session is described, or describes it itself', () => {
    const modelDefinition = {
      models: [{ name: 'm', model_path: '/m', service: { port: 80, start_command: 'x' } }],
    };
    const sent = codec.unpack(
      codec.pack({
        runtime_variant: 'custom',
        model_definition_path: 'deep/own.yaml',
        model_definition: modelDefinition,
      }),
    );
    const internalData = parseConfig({ internal_data: sent }).internal_data;
    expect(internalData).toMatchObject({
      runtimeVariant: 'custom',
      modelDefinitionPath: 'deep/own.yaml',
      modelDefinition,
    });
    expect(parseDefinition(internalData.modelDefinition, 'a test')).toMatchObject(modelDefinition.models);
    const nothing = { runtime_variant: null, model_definition_path: null, model_definition: null };
    expect(parseConfig({ internal_data: nothing })).toEqual(parseConfig({ internal_data: {} }));
  });

  test.each(Object.keys(CONFIG))('without %s is a KeyError with that key', (key) => {
    const rest = without(CONFIG, key);
    expect(() => parseWire(kernelCreationConfig, rest, 'raw_configs')).toThrow(
      expect.objectContaining({ pythonName: 'KeyError', message: key }),
    );
  });

  test.each(['canonical', 'digest', 'labels'] as const)('whose image has no %s is a KeyError too', (key) => {
    const image = without(IMAGE, key);
    expect(() => parseConfig({ image })).toThrow(
      expect.objectContaining({ pythonName: 'KeyError', message: key }),
    );
  });

  test.each<[string, object, string, string]>([
    [
      'a slot amount is a list',
      { resource_slots: { cpu: ['1'] } },
      'TypeError',
      'raw_configs.resource_slots.cpu',
    ],
    ['a mount is text', { mounts: ['/data'] }, 'TypeError', 'raw_configs.mounts[0]'],
    ['a gid is text', { supplementary_gids: ['1'] }, 'TypeError', 'raw_configs.supplementary_gids[0]'],
    ['the session type is unknown', { session_type: 'nightly' }, 'ValueError', 'raw_configs.session_type'],
    ['shmem is no number', { resource_opts: { shmem: '64m' } }, 'ValueError', "'64m'"],
    ['the owner is no UUID', { owner_user_id: 'me' }, 'ValueError', 'badly formed hexadecimal UUID string'],
  ])('where %s is refused', (_what, changes, pythonName, message) => {
    expect(() => parseConfig(changes)).toThrow(
      expect.objectContaining({ pythonName, message: expect.stringContaining(message) }),
    );
  });

  test.each([
    ['interactive', 'interactive'],
    ['INFERENCE', 'inference'],
    [new EnumValue('ai.backend.common.types', 'SessionTypes', 'system'), 'system'],
  ])('takes session type %p', (given, expected) => {
    expect(parseConfig({ session_type: given }).session_type).toBe(expected);
  });

  test.each([
    [67_108_864, 67_108_864n],
    ['67108864', 67_108_864n],
    [18_446_744_073_709_551_615n, 18_446_744_073_709_551_615n],
    [null, null],
  ])('takes shmem %p', (shmem, expected) => {
    expect(parseConfig({ resource_opts: { shmem } }).resource_opts.shmemBytes).toBe(expected);
  });

  test('takes an environment whose keys are extension values, and paths as extension values', () => {
    const mount = {
      name: 'data',
      vfid: 'x',
      host_path: new PosixPath('/host'),
      kernel_path: '/home/work/data',
      mount_perm: new EnumValue('ai.backend.common.types', 'MountPermission', 'ro'),
    };
    const parsed = parseConfig({ environ: new Map([['A', 'b']]), mounts: [mount] });
    expect(parsed.environ).toEqual({ A: 'b' });
    expect(parsed.mounts).toEqual([
      expect.objectContaining({ hostPath: '/host', permission: 'ro', vfsubpath: '.', usageMode: 'general' }),
    ]);
  });
});

test.each([
  ['single-node', 'single-node'],
  ['SINGLE_NODE', 'single-node'],
  ['multi_node', 'multi-node'],
  [new EnumValue('ai.backend.common.types', 'ClusterMode', 'multi-node'), 'multi-node'],
])('a cluster mode may be spelled %p', (mode, expected) => {
  const info = { mode, network_config: {}, ssh_keypair: null };
  expect(parseWire(clusterInfo, info, 'raw_cluster_info').mode).toBe(expected);
});

test.each(['network_config', 'ssh_keypair'])('cluster info without %s is a KeyError', (key) => {
  const info = { mode: 'single-node', network_config: {}, ssh_keypair: null };
  const rest = without(info, key);
  expect(() => parseWire(clusterInfo, rest, 'raw_cluster_info')).toThrow(
    expect.objectContaining({ pythonName: 'KeyError', message: key }),
  );
});

test('an image reference is found by kernel id however its key is spelled, and its absence is a KeyError', () => {
  const id = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';
  const ref = new ImageRef({
    name: 'python',
    project: null,
    tag: '3',
    registry: '',
    architecture: 'arm64',
    isLocal: true,
  });
  const expected = { canonical: 'python:3', architecture: 'aarch64', isLocal: true };
  for (const refs of [{ [id.toUpperCase()]: ref }, new Map([[id, ref]]), new Map([[new Uuid(id), ref]])])
    expect(imageRefOf(parseWire(kernelImageRefs, refs, 'refs'), parseKernelId(id))).toEqual(expected);
  expect(() => imageRefOf(new Map(), parseKernelId(id))).toThrow(
    expect.objectContaining({ pythonName: 'KeyError', message: id }),
  );
});

describe('an image to pull', () => {
  const image = {
    ...IMAGE,
    project: null,
    architecture: 'amd64',
    is_local: true,
    auto_pull: 'none',
    registry: { name: 'localhost', username: 'u', password: '' },
  };

  test('has its architecture under the usual name, and credentials only if they are complete', () => {
    expect(parseWire(imagePullRequest, image, 'image_configs')).toEqual({
      canonical: 'python:3',
      digest: 'sha256:0',
      project: null,
      architecture: 'x86_64',
      isLocal: true,
      autoPull: 'none',
      registry: { name: 'localhost', username: null, password: null },
    });
  });

  test.each(['canonical', 'project', 'architecture', 'digest', 'registry', 'is_local', 'auto_pull'])(
    'without %s is a KeyError',
    (key) => {
      const rest = without(image, key);
      expect(() => parseWire(imagePullRequest, rest, 'image_configs')).toThrow(
        expect.objectContaining({ pythonName: 'KeyError', message: key }),
      );
    },
  );
});
