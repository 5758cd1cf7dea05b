import type { KernelProcessState } from '../../../../src/backends/backend.js';
import { parseAgentId } from '../../../../src/core/ids.js';
import { Kernel, type KernelFacts } from '../../../../src/kernels/kernel.js';
import { decideRecovery, type RecoveryDecision } from '../../../../src/kernels/lifecycle/recovery.js';
import { kernelRequest } from '../../../support/kernel-requests.js';

const blank = Kernel.requested(parseAgentId('i-one'), kernelRequest(), 1).facts;
const termination = { reason: 'idle-timeout', suppressEvents: false, exitCode: null, announced: false };

const runs: KernelProcessState = {
  status: 'running',
  endpoints: { replIn: 'ipc://in', replOut: 'ipc://out' },
};
const exited: KernelProcessState = { status: 'exited', exitCode: 3, detail: 'exited' };
const missing: KernelProcessState = { status: 'missing' };
const unknown = null;
const end = (reason: string, exitCode: number | null = null, detail?: string): RecoveryDecision => ({
  action: 'end',
  reason,
  exitCode,
  ...(detail === undefined ? {} : { detail }),
});

test.each<[string, Partial<KernelFacts>, KernelProcessState | null, RecoveryDecision]>([
  ['runs', { state: { name: 'running' } }, runs, { action: 'attach' }],
  ['runs, the backend cannot say', { state: { name: 'running' } }, unknown, { action: 'attach' }],
  ['exited meanwhile', { state: { name: 'running' } }, exited, end('self-terminated', 3, 'exited')],
  ['vanished meanwhile', { state: { name: 'running' } }, missing, end('container-not-found')],
  [
    'was being created',
    { state: { name: 'preparing', step: 'pulling-image' } },
    missing,
    end('failed-to-create'),
  ],
  [
    'was starting',
    { state: { name: 'preparing', step: 'starting-container' } },
    runs,
    end('failed-to-create'),
  ],
  [
    'was waiting for its runner',
    { state: { name: 'preparing', step: 'waiting-for-runner' } },
    runs,
    end('failed-to-start'),
  ],
  [
    'was being restarted',
    { state: { name: 'restarting', step: 'stopping-container' } },
    runs,
    end('failed-to-create'),
  ],
  [
    'was ending',
    { state: { name: 'terminating', reason: 'idle-timeout' }, termination },
    exited,
    end('idle-timeout'),
  ],
  [
    'had ended but for its files',
    {
      state: { name: 'terminated', reason: 'idle-timeout' },
      termination: { ...termination, announced: true },
    },
    missing,
    { action: 'sweep' },
  ],
])('a kernel that %s', (_, facts, found, decision) => {
  expect(decideRecovery({ ...blank, ...facts }, found)).toEqual(decision);
});
