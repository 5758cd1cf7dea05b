import { assertNever } from '../core/assert-never.js';
import { InvariantError } from '../core/errors.js';

/**
 * What a creation, first or repeated by a restart, is busy with; in this order, each at most once. A kernel may leave
 * a step only forwards or by being terminated (spec/kernel-lifecycle.md 2.1).
 */
export const CREATION_STEPS = [
  'accepted',
  'stopping-container',
  'pulling-image',
  'allocating',
  'waiting-for-turn',
  'preparing-scratch',
  'creating-container',
  'starting-container',
  'waiting-for-runner',
] as const;
export type CreationStep = (typeof CREATION_STEPS)[number];

/** The state of one kernel (spec/kernel-lifecycle.md 1.1). `terminated` is never seen in a registry. */
export type KernelState =
  | { readonly name: 'preparing'; readonly step: CreationStep }
  | { readonly name: 'running' }
  | { readonly name: 'restarting'; readonly step: CreationStep }
  | { readonly name: 'terminating'; readonly reason: string }
  | { readonly name: 'terminated'; readonly reason: string };

export type KernelChange =
  | { readonly type: 'step'; readonly step: CreationStep }
  /** The runner inside answers. */
  | { readonly type: 'ready' }
  | { readonly type: 'restart' }
  | { readonly type: 'terminate'; readonly reason: string }
  /** Nothing of the kernel is left outside this process. */
  | { readonly type: 'cleaned' };

export const INITIAL_STATE: KernelState = { name: 'preparing', step: 'accepted' };

/**
 * The only way from one state to the next. Terminating twice keeps the first reason (spec 9.2 D14).
 * @throws InvariantError for a change that this state cannot take.
 */
export function transition(state: KernelState, change: KernelChange): KernelState {
  switch (change.type) {
    case 'step':
      if ((state.name === 'preparing' || state.name === 'restarting') && isForward(state.step, change.step))
        return { ...state, step: change.step };
      break;
    case 'ready':
      if ((state.name === 'preparing' || state.name === 'restarting') && state.step === 'waiting-for-runner')
        return { name: 'running' };
      break;
    case 'restart':
      if (state.name === 'running') return { name: 'restarting', step: 'accepted' };
      break;
    case 'terminate':
      if (state.name === 'terminating' || state.name === 'terminated') return state;
      return { name: 'terminating', reason: change.reason };
    case 'cleaned':
      if (state.name === 'terminating' || state.name === 'terminated')
        return { name: 'terminated', reason: state.reason };
      break;
    default:
      return assertNever(change, 'kernel state change');
  }
  throw new InvariantError(
    `a kernel in state '${describe(state)}' cannot take the change '${change.type}'` +
      (change.type === 'step' ? ` to '${change.step}'` : ''),
    { details: { state, change } },
  );
}

function isForward(from: CreationStep, to: CreationStep): boolean {
  return CREATION_STEPS.indexOf(to) > CREATION_STEPS.indexOf(from);
}

function describe(state: KernelState): string {
  return 'step' in state ? `${state.name} (${state.step})` : state.name;
}
