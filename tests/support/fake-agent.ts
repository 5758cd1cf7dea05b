import type { Agent } from '../../src/agent/agent.js';
import { KeyError, RuntimeError } from '../../src/core/errors.js';
import { parseAgentId } from '../../src/core/ids.js';
import type { AgentId, KernelId } from '../../src/core/ids.js';
import { KernelRegistry } from '../../src/kernels/kernel-registry.js';
import { Kernel } from '../../src/kernels/kernel.js';
import type {
  KernelCreationRequest,
  KernelCreationResult,
  KernelPreview,
  KernelRestartResult,
} from '../../src/kernels/requests.js';
import type { AgentFactory } from '../../src/runtime/agent-runtime.js';

/** One call that reached an agent, as the method's name and its arguments (signals left out). */
export interface RecordedCall {
  readonly method: string;
  readonly args: readonly unknown[];
}

/**
 * An agent that runs nothing: it keeps a registry, answers with fixed values and records what it is asked. Any method
 * can be replaced: `new FakeAgent('a', { logs: () => Promise.resolve('x') })`.
 */
export class FakeAgent implements Agent {
  readonly id: AgentId;
  readonly kernels: KernelRegistry;
  readonly calls: RecordedCall[] = [];
  scalingGroup = 'default';
  #nextPort = 30_000;

  constructor(id: string, overrides: Partial<Omit<Agent, 'id' | 'kernels' | 'scalingGroup'>> = {}) {
    this.id = parseAgentId(id);
    this.kernels = new KernelRegistry(this.id);
    Object.assign(this, overrides);
  }

  /** For `AgentRuntime.create`; `stop` records itself. */
  factory(): AgentFactory {
    return {
      id: this.id,
      start: () =>
        Promise.resolve({
          agent: this,
          stop: () => {
            this.#record('stop');
            return Promise.resolve();
          },
        }),
    };
  }

  hardwareInfo(): ReturnType<Agent['hardwareInfo']> {
    this.#record('hardwareInfo');
    return Promise.resolve({ cuda: { status: 'healthy', statusInfo: null, metadata: { driver: '1' } } });
  }
  gpuAllocMap(): ReturnType<Agent['gpuAllocMap']> {
    this.#record('gpuAllocMap');
    return Promise.resolve({ '0': '0.5' });
  }
  resourceUsage(): ReturnType<Agent['resourceUsage']> {
    const cpu = { capacity: '4', reported: '4', reserved: '0', allocated: '1', allocatedBySiblings: '0' };
    return { agentId: this.id, slots: { cpu: { ...cpu, free: '3' } }, devices: {}, kernels: {} };
  }
  examine(): readonly string[] {
    return [];
  }
  updateScalingGroup(group: string): Promise<void> {
    this.#record('updateScalingGroup', group);
    this.scalingGroup = group;
    return Promise.resolve();
  }
  reset(): Promise<void> {
    this.#record('reset');
    for (const kernel of this.kernels) this.kernels.remove(kernel.id);
    return Promise.resolve();
  }
  shutdown(options: { readonly terminateKernels: boolean }): Promise<void> {
    this.#record('shutdown', options);
    return Promise.resolve();
  }
  createLocalNetwork(name: string): Promise<void> {
    this.#record('createLocalNetwork', name);
    return Promise.resolve();
  }
  destroyLocalNetwork(name: string): Promise<void> {
    this.#record('destroyLocalNetwork', name);
    return Promise.resolve();
  }
  checkAndPull(...[images]: Parameters<Agent['checkAndPull']>): ReturnType<Agent['checkAndPull']> {
    this.#record('checkAndPull', images);
    return Promise.resolve(
      new Map([...images.keys()].map((key) => [key, 'e1a6c13d-e234-44af-ac16-ed84d7f06234'])),
    );
  }
  isPulling(canonical: string): boolean {
    this.#record('isPulling', canonical);
    return false;
  }
  pushImage(...[image]: Parameters<Agent['pushImage']>): string {
    this.#record('pushImage', image);
    return 'e1a6c13d-e234-44af-ac16-ed84d7f06234';
  }
  purgeImages(...[canonicals, options]: Parameters<Agent['purgeImages']>): ReturnType<Agent['purgeImages']> {
    this.#record('purgeImages', canonicals, options);
    return Promise.resolve(canonicals.map((image) => ({ image, error: null })));
  }
  commit(...[commit]: Parameters<Agent['commit']>): ReturnType<Agent['commit']> {
    this.#record('commit', commit);
    const { subdir, filename } = commit;
    const path = filename === null ? null : `${subdir}/${filename}`;
    return Promise.resolve({ taskId: 'e1a6c13d-e234-44af-ac16-ed84d7f06234', path });
  }
  commitStatus(...[kernelId, subdir]: Parameters<Agent['commitStatus']>): ReturnType<Agent['commitStatus']> {
    this.#record('commitStatus', kernelId, subdir);
    return Promise.resolve('ready');
  }
  assignPort(): Promise<number> {
    this.#record('assignPort');
    return Promise.resolve(this.#nextPort++);
  }
  releasePort(port: number): Promise<void> {
    this.#record('releasePort', port);
    return Promise.resolve();
  }

  createKernels(requests: readonly KernelCreationRequest[]): Promise<readonly KernelCreationResult[]> {
    this.#record('createKernels', requests);
    return Promise.resolve(
      requests.map((request) => {
        if (!this.kernels.has(request.kernelId))
          this.kernels.add(Kernel.requested(this.id, request, 1_700_000_000_000));
        return creationResultOf(request);
      }),
    );
  }
  previewKernels(...args: Parameters<Agent['previewKernels']>): Promise<readonly KernelPreview[]> {
    this.#record('previewKernels', ...args);
    const [requests, { showSecrets }] = args;
    return Promise.resolve(
      requests.map(({ kernelId }) => ({
        agentId: this.id,
        kernelId,
        backend: 'fake',
        launch: { secrets: showSecrets },
      })),
    );
  }

  restartKernel(...[restart]: Parameters<Agent['restartKernel']>): Promise<KernelRestartResult> {
    this.#record('restartKernel', restart);
    this.kernels.get(restart.kernelId);
    return Promise.resolve({
      containerId: `container-${restart.kernelId}`,
      replInPort: 30_000,
      replOutPort: 30_001,
      servicePorts: [],
    });
  }
  destroyKernel(...[destroy]: Parameters<Agent['destroyKernel']>): Promise<void> {
    this.#record('destroyKernel', destroy);
    this.kernels.remove(destroy.kernelId);
    return Promise.resolve();
  }
  isCreating(kernelId: KernelId): boolean {
    this.#record('isCreating', kernelId);
    return this.kernels.has(kernelId);
  }
  isRunning(kernelId: KernelId): boolean {
    this.#record('isRunning', kernelId);
    return this.kernels.has(kernelId);
  }
  pingKernel(kernelId: KernelId): ReturnType<Agent['pingKernel']> {
    return this.#ofKernel('pingKernel', kernelId, { startedAtSec: 1_700_000_000 });
  }
  syncKernelRegistry(...[known]: Parameters<Agent['syncKernelRegistry']>): Promise<void> {
    this.#record('syncKernelRegistry', known);
    return Promise.resolve();
  }
  purgeContainers(...[containers]: Parameters<Agent['purgeContainers']>): Promise<void> {
    this.#record('purgeContainers', containers);
    return Promise.resolve();
  }
  dropKernelRegistry(kernelIds: readonly KernelId[]): Promise<void> {
    this.#record('dropKernelRegistry', kernelIds);
    return Promise.resolve();
  }

  execute(...[kernelId, request]: Parameters<Agent['execute']>): ReturnType<Agent['execute']> {
    this.#record('execute', kernelId, request);
    return Promise.reject(
      new RuntimeError(
        `The container for kernel ${kernelId} is not found! (might be terminated--try it again)`,
      ),
    );
  }
  triggerBatchExecution(...[batch]: Parameters<Agent['triggerBatchExecution']>): Promise<void> {
    this.#record('triggerBatchExecution', batch);
    return Promise.resolve();
  }
  interruptKernel(kernelId: KernelId): Promise<void> {
    return this.#ofKernel('interruptKernel', kernelId, undefined);
  }
  complete(...[kernelId, code, options]: Parameters<Agent['complete']>): ReturnType<Agent['complete']> {
    return this.#ofKernel('complete', kernelId, ['import'], code, options);
  }
  logs(kernelId: KernelId): Promise<string> {
    return this.#ofKernel('logs', kernelId, 'hello\n');
  }
  startService(
    ...[kernelId, service, options]: Parameters<Agent['startService']>
  ): ReturnType<Agent['startService']> {
    return this.#ofKernel('startService', kernelId, { status: 'started' }, service, options);
  }
  shutdownService(kernelId: KernelId, service: string): Promise<void> {
    this.#record('shutdownService', kernelId, service);
    return Promise.resolve();
  }
  uploadFile(kernelId: KernelId, path: string, data: Uint8Array): Promise<void> {
    return this.#ofKernel('uploadFile', kernelId, undefined, path, data);
  }
  downloadFile(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#ofKernel('downloadFile', kernelId, Buffer.from('tar'), path);
  }
  downloadSingle(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#ofKernel('downloadSingle', kernelId, Buffer.from('content'), path);
  }
  listFiles(kernelId: KernelId, path: string): ReturnType<Agent['listFiles']> {
    const file = { filename: 'a.txt', mode: '-rw-r--r--', sizeBytes: 3 };
    const times = { ctimeMs: 1500, mtimeMs: 2500, atimeMs: 3500 };
    return this.#ofKernel('listFiles', kernelId, { entries: [{ ...file, ...times }], errors: '' }, path);
  }

  #ofKernel<Result>(method: string, kernelId: KernelId, result: Result, ...args: unknown[]): Promise<Result> {
    this.#record(method, kernelId, ...args);
    return this.kernels.has(kernelId) ? Promise.resolve(result) : Promise.reject(new KeyError(kernelId));
  }

  #record(method: string, ...args: unknown[]): void {
    this.calls.push({ method, args });
  }
}

/** What the dummy backend of the original answers, in shape. */
export function creationResultOf(request: KernelCreationRequest): KernelCreationResult {
  const { cpu = '1', mem = '0' } = request.config.resourceSlots;
  return {
    id: request.kernelId,
    containerId: `container-${request.kernelId}`,
    kernelHost: '127.0.0.1',
    replInPort: 30_000,
    replOutPort: 30_001,
    servicePorts: [
      { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30_002], isInference: false },
      {
        name: 'hostport1',
        protocol: 'internal',
        containerPorts: [9000],
        hostPorts: [null],
        isInference: false,
      },
    ],
    resourceSpec: {
      slots: { cpu, mem },
      allocations: { cpu: { cpu: { '0': cpu } }, mem: { mem: { root: mem } } },
      scratchDiskSizeBytes: 0,
      mounts: [{ type: 'bind', source: '/host/data', target: '/home/work/data', permission: 'rw' }],
    },
    attachedDevices: {
      cpu: [{ deviceId: '0', modelName: '', data: { cores: 1 } }],
      mem: [{ deviceId: 'root', modelName: '', data: {} }],
      cuda: [{ deviceId: '0', modelName: 'A100', data: { smp: 108, memBytes: 42_949_672_960n } }],
    },
    agentAddr: request.config.agentAddr,
    scalingGroup: request.config.scalingGroup,
  };
}
