import type { KernelHandle, RunnerEndpoints } from '../backends/backend.js';
import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import { INITIAL_STATE, type KernelChange, type KernelState, transition } from './kernel-state.js';
import type { KernelAllocation } from './lifecycle/parts.js';
import type { Model } from './models/definition.js';
import type { KernelCreationRequest, KernelCreationResult, ServicePort } from './requests.js';

/** Host ports of one kernel. */
export interface KernelPorts {
  readonly replIn: number;
  readonly replOut: number;
  /** Every port that the agent's pool books for this kernel, the two above included. */
  readonly booked: readonly number[];
}

export interface KernelTermination {
  /** The first one recorded wins (spec/kernel-lifecycle.md 9.2 D14). */
  readonly reason: string;
  /** No `kernel_terminated` is sent. */
  readonly suppressEvents: boolean;
  readonly exitCode: number | null;
  /** How its container ended by itself, in the backend's words. Absent: it was ended, or nobody can tell. */
  readonly detail?: string;
  /** The manager has been told; only left-overs on the disk remain to be removed. */
  readonly announced: boolean;
}

/** What one of those who end a kernel says of its end; see `Kernel.terminate`. */
export interface TerminationWish {
  readonly reason: string;
  /** Without it: as others have asked, else the event is sent. */
  readonly suppressEvents?: boolean;
  readonly exitCode?: number | null;
  readonly detail?: string;
}

/** Everything that is known of a kernel and survives this process, see `kernel-record`. Never changed in place. */
export interface KernelFacts {
  readonly agentId: AgentId;
  readonly request: KernelCreationRequest;
  readonly state: KernelState;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  /** The agent's scratch root when the kernel was created, which may be another one by now; null in old records. */
  readonly scratchRoot: string | null;
  readonly allocation: KernelAllocation | null;
  readonly ports: KernelPorts | null;
  /** All of them, `internal` ones included. */
  readonly servicePorts: readonly ServicePort[];
  /** What it serves as a kernel of an inference session. Absent: nothing. */
  readonly models?: readonly Model[];
  /** The runner has said of all models whether they started, and that was dealt with. */
  readonly modelsAnswered?: boolean;
  readonly handle: KernelHandle | null;
  readonly endpoints: RunnerEndpoints | null;
  /** What the creation answered, for repeats of it. */
  readonly result: KernelCreationResult | null;
  /** `kernel_started` is out for the container that `handle` names. */
  readonly startAnnounced: boolean;
  readonly termination: KernelTermination | null;
}

type ChangeableFacts = Omit<KernelFacts, 'agentId' | 'state' | 'createdAtMs' | 'termination'>;

/**
 * One kernel of one agent. Whoever holds it sees it live; only the lifecycle changes it, and only inside the kernel's
 * own queue, but for the request to terminate, which takes effect at once.
 */
export class Kernel {
  /**
   * The creation of a container has failed, and nobody knows whether there is one: its answer may have been lost. Not
   * kept in the journal, as a recovery looks for containers anyway.
   */
  hasContainerInDoubt = false;
  #facts: KernelFacts;
  readonly #listeners = new Set<(kernel: Kernel) => void>();

  private constructor(facts: KernelFacts) {
    this.#facts = facts;
  }

  /** A kernel about to be created. */
  static requested(agentId: AgentId, request: KernelCreationRequest, createdAtMs: number): Kernel {
    return new Kernel({
      agentId,
      request,
      createdAtMs,
      state: INITIAL_STATE,
      startedAtMs: null,
      scratchRoot: null,
      allocation: null,
      ports: null,
      servicePorts: [],
      handle: null,
      endpoints: null,
      result: null,
      startAnnounced: false,
      termination: null,
    });
  }

  /** A kernel of an earlier run of the daemon. */
  static restored(facts: KernelFacts): Kernel {
    return new Kernel(facts);
  }

  get facts(): KernelFacts {
    return this.#facts;
  }
  get id(): KernelId {
    return this.#facts.request.kernelId;
  }
  get sessionId(): SessionId {
    return this.#facts.request.sessionId;
  }
  get agentId(): AgentId {
    return this.#facts.agentId;
  }
  get state(): KernelState {
    return this.#facts.state;
  }
  get request(): KernelCreationRequest {
    return this.#facts.request;
  }
  /** The image's canonical name. */
  get image(): string {
    return this.#facts.request.config.image.canonical;
  }
  get allocation(): KernelAllocation | null {
    return this.#facts.allocation;
  }
  get ports(): KernelPorts | null {
    return this.#facts.ports;
  }
  get servicePorts(): readonly ServicePort[] {
    return this.#facts.servicePorts;
  }
  get models(): readonly Model[] {
    return this.#facts.models ?? [];
  }
  get handle(): KernelHandle | null {
    return this.#facts.handle;
  }
  /** The one place where the container's id is kept is the handle. */
  get containerId(): ContainerId | null {
    return this.#facts.handle?.containerId ?? null;
  }
  get endpoints(): RunnerEndpoints | null {
    return this.#facts.endpoints;
  }
  get result(): KernelCreationResult | null {
    return this.#facts.result;
  }
  get startAnnounced(): boolean {
    return this.#facts.startAnnounced;
  }
  get scratchRoot(): string | null {
    return this.#facts.scratchRoot;
  }
  get createdAtMs(): number {
    return this.#facts.createdAtMs;
  }
  get startedAtMs(): number | null {
    return this.#facts.startedAtMs;
  }
  get termination(): KernelTermination | null {
    return this.#facts.termination;
  }

  /** @throws InvariantError when the state cannot take the change. */
  apply(
    change: Exclude<KernelChange, { readonly type: 'terminate' }>,
    facts: Partial<ChangeableFacts> = {},
  ): void {
    this.#set({ ...this.#facts, ...facts, state: transition(this.#facts.state, change) });
  }

  learn(facts: Partial<ChangeableFacts>): void {
    this.#set({ ...this.#facts, ...facts });
  }

  /**
   * Marks the kernel as ending. The first reason stays; whether the event is sent is up to those who say so, and one
   * who wants it is enough; an exit status and how it came to that are kept once known.
   */
  terminate(wish: TerminationWish): void {
    const { reason, suppressEvents, exitCode = null } = wish;
    const first = this.#facts.termination;
    const detail = first?.detail ?? wish.detail;
    const how = detail === undefined ? {} : { detail };
    this.#set({
      ...this.#facts,
      state: transition(this.#facts.state, { type: 'terminate', reason }),
      termination: first
        ? {
            ...first,
            suppressEvents: first.suppressEvents && (suppressEvents ?? true),
            exitCode: first.exitCode ?? exitCode,
            ...how,
          }
        : { reason, suppressEvents: suppressEvents ?? false, exitCode, announced: false, ...how },
    });
  }

  /** The manager knows of the end, by event or because it asked for silence. */
  announced(): void {
    const { termination } = this.#facts;
    if (termination) this.#set({ ...this.#facts, termination: { ...termination, announced: true } });
  }

  /** Calls back after every change. Returns an unsubscribe function. */
  observe(listener: (kernel: Kernel) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #set(facts: KernelFacts): void {
    this.#facts = facts;
    for (const listener of [...this.#listeners]) listener(this);
  }
}
