import { randomUUID } from 'node:crypto';
import { TestDaemon } from '../support/daemon.js';
import { type KernelWish, ManagerClient } from '../support/manager-client.js';

export const SLOW_MS = 180_000;
export const PATIENT = { timeoutMs: 60_000 };
export const IMAGE = 'localhost/test/python:3.11-debian';
const LABELS = {
  'ai.backend.kernelspec': '1',
  'ai.backend.role': 'COMPUTE',
  'ai.backend.runtime-type': 'python',
  'ai.backend.runtime-path': '/usr/bin/python3',
  'ai.backend.features': 'batch query uid-match user-input',
  'ai.backend.base-distro': 'ubuntu20.04',
  'ai.backend.service-ports': '',
};

export interface ManagerRelease {
  /** For the daemon's `manager-version`. */
  readonly line: '25.17' | '26.9';
  readonly script: 'manager_client_25.py' | 'manager_client_26.py';
  /** The class in which the manager's code meets a failure of the agent. */
  readonly failure: string;
  readonly unknownAgentRepr: string;
  /** What `interrupt_kernel` returns. */
  readonly interrupted: unknown;
}

export function wish(changes: Partial<KernelWish> = {}): KernelWish {
  const slots = { cpu: '1', mem: '134217728' };
  return { kernel_id: randomUUID(), image: IMAGE, labels: LABELS, slots, ...changes };
}

/** One kernel of a session. */
export interface SessionKernel {
  readonly session: string;
  readonly id: string;
}

/** The daemon, the manager and what the contracts have in common; usable while the tests run. */
export type ManagerBench = ReturnType<typeof managerBench>;

/** Starts both before the tests of the surrounding group and ends them afterwards. */
export function managerBench(python: string, release: ManagerRelease) {
  let started: { readonly daemon: TestDaemon; readonly manager: ManagerClient } | undefined;
  const parts = () => {
    if (!started) throw new Error('the daemon or the manager did not start');
    return started;
  };
  const call: ManagerClient['call'] = (...args) => parts().manager.call(...args);
  const invoke: ManagerClient['invoke'] = (...args) => parts().manager.invoke(...args);
  const failsAs = (remoteName: string) => ({ type: release.failure, remoteName });
  /** Without the manager's client, a failure is the same class on both lines. */
  const invokeFailsAs = (remoteName: string) => ({ type: 'AgentError', remoteName });

  beforeAll(async () => {
    // More cores than a small machine has: a kernel of these tests uses next to nothing.
    const env = { BACKEND_CPU_OVERCOMMIT_FACTOR: '4' };
    const spleniumKeys = [`manager-version = "${release.line}"`];
    const daemon = await TestDaemon.start({ spleniumKeys, env });
    try {
      started = { daemon, manager: await ManagerClient.start(python, release.script, daemon) };
    } catch (error) {
      await daemon.dispose();
      throw error;
    }
  }, SLOW_MS);

  afterAll(async () => {
    await started?.manager.close();
    await started?.daemon.dispose();
  }, SLOW_MS);

  async function createKernel(agentId: string, changes: Partial<KernelWish> = {}): Promise<SessionKernel> {
    const session = randomUUID();
    const asked = wish(changes);
    await parts().manager.create(agentId, session, [asked]);
    return { session, id: asked.kernel_id };
  }
  const destroyArguments = ({ id, session }: SessionKernel) => [
    { $kernel: id },
    { $session: session },
    'user-requested',
  ];
  const destroy = (agentId: string, kernel: SessionKernel) =>
    call(agentId, 'destroy_kernel', destroyArguments(kernel), { kwargs: { suppress_events: false } });
  const kernelIds = async (agentId: string) => {
    const listed = (await invoke(agentId, 'list_kernels', [], { kwargs: { agent_id: agentId } })) as {
      kernel_id: string;
    }[];
    return listed.map(({ kernel_id }) => kernel_id);
  };
  const booksAreInOrder = async () => {
    const checks = (await invoke('i-one', 'examine')) as { ok: boolean }[];
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  };

  return {
    python,
    release,
    parts,
    call,
    invoke,
    failsAs,
    invokeFailsAs,
    createKernel,
    destroy,
    kernelIds,
    booksAreInOrder,
  };
}
