import { randomUUID } from 'node:crypto';
import type { AgentClient } from '../../src/client/agent-client.js';
import type { KernelSpec } from '../../src/client/kernel-spec.js';

export type LiveKernelSpec = Omit<KernelSpec, 'kernelId' | 'sessionId'>;

/** Events of a kernel that came up and was ended, in order. */
export const LIFE = ['kernel_preparing', 'kernel_creating', 'kernel_started', 'kernel_terminated'];

/** For the process backend. */
export const PYTHON_KERNEL: LiveKernelSpec = {
  image: 'local/python:3',
  labels: { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' },
  resourceSlots: { cpu: '1', mem: '67108864' },
};

/** As a manager does: a kernel that comes, works and goes; other calls are answered meanwhile. Its id. */
export async function liveKernel(client: AgentClient, spec: LiveKernelSpec = PYTHON_KERNEL): Promise<string> {
  const kernel = await client.createKernel({ ...spec, kernelId: randomUUID(), sessionId: randomUUID() });
  const echo = await client.ping('here');
  if (echo !== 'here') throw new Error(`ping answers ${echo}`);
  await client.destroyKernel(kernel);
  return kernel.kernelId;
}
