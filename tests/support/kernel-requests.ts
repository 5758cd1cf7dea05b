import { randomUUID } from 'node:crypto';
import { parseKernelId, parseSessionId } from '../../src/core/ids.js';
import type { KernelCreationConfig, KernelCreationRequest } from '../../src/kernels/requests.js';

/** What a manager asks for: the main kernel of a session of one, as in `manager-session-trace.json`. */
export function kernelRequest(
  changes: Partial<Omit<KernelCreationRequest, 'config'>> & {
    readonly config?: Partial<KernelCreationConfig>;
  } = {},
): KernelCreationRequest {
  const kernelId = changes.kernelId ?? parseKernelId(randomUUID());
  const canonical = 'localhost/test/python:3.11-debian';
  return {
    sessionId: parseSessionId(randomUUID()),
    cluster: {
      mode: 'single-node',
      size: 1,
      replicas: { main: 1 },
      networkConfig: {},
      sshKeypair: { publicKey: 'cluster public', privateKey: 'cluster private' },
      clusterSshPortMapping: null,
    },
    imageRef: { canonical, architecture: 'x86_64', isLocal: false },
    ...changes,
    kernelId,
    config: {
      image: {
        canonical,
        digest: 'sha256:0000',
        architecture: 'x86_64',
        isLocal: false,
        autoPull: 'digest',
        registry: { name: 'localhost', username: null, password: null },
        project: 'test',
        labels: {
          'ai.backend.kernelspec': '1',
          'ai.backend.runtime-type': 'python',
          'ai.backend.runtime-path': '/usr/bin/python3',
          'ai.backend.features': 'batch query uid-match user-input',
          'ai.backend.envs.corecount': 'OPENBLAS_NUM_THREADS,OMP_NUM_THREADS',
          'ai.backend.service-ports': 'jupyter:http:8070',
        },
      },
      networkId: 'network',
      sessionType: 'interactive',
      clusterRole: 'main',
      clusterHostname: 'main1',
      uid: null,
      mainGid: null,
      supplementaryGids: [],
      resourceSlots: { cpu: '1', mem: '268435456' },
      resourceOpts: { shmemBytes: 67108864n, allowFractionalResourceFragmentation: true },
      environ: { BACKENDAI_KERNEL_ID: kernelId, BACKENDAI_SESSION_NAME: 'a-session' },
      mounts: [],
      internalData: {
        dotfiles: [],
        sshKeypair: null,
        dockerCredentials: null,
        domainSocketProxies: [],
        blockServicePorts: false,
        sudoSessionEnabled: false,
        preventVfolderMounts: false,
      },
      preopenPorts: [],
      allocatedHostPorts: [],
      bootstrapScript: null,
      scalingGroup: 'default',
      agentAddr: 'tcp://127.0.0.1:6001',
      ownerUserId: '22222222-2222-4222-8222-222222222222',
      ownerProjectId: null,
      ...changes.config,
    },
  };
}
