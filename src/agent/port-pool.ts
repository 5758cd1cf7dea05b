import { createServer } from 'node:net';
import type { Clock } from '../core/clock.js';
import { SpleniumError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { HostPorts } from '../kernels/lifecycle/parts.js';

/** No host port of the agent's range is free. */
export class PortPoolExhaustedError extends SpleniumError {
  override readonly code = 'PORT_POOL_EXHAUSTED';
  override readonly pythonName = 'PortPoolExhaustedError';
}

/** Two kernels want one port. */
export class PortInUseError extends SpleniumError {
  override readonly code = 'PORT_IN_USE';
  override readonly pythonName = 'RuntimeError';
}

export interface PortPoolOptions {
  /** Both ends included. */
  readonly range: readonly [first: number, last: number];
  readonly clock: Clock;
  /** How long a port that `assign` handed out stays reserved without a kernel that uses it; default 60 s. */
  readonly leaseMs?: number;
  /** May a kernel bind this port now? Default: tries to bind it on all addresses. */
  readonly probe?: (port: number) => Promise<boolean>;
}

type Holder =
  | { readonly kind: 'kernel'; readonly kernelId: KernelId }
  | { readonly kind: 'lease'; readonly untilMs: number };

/**
 * The host ports of one agent, the one free for longest first (spec/rpc-functions.md 3.5). Ranges of agents never
 * overlap (the configuration is refused otherwise), so a port has one owner in the whole process.
 */
export class PortPool implements HostPorts {
  readonly #range: readonly [number, number];
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #probe: (port: number) => Promise<boolean>;
  readonly #free: Set<number>;
  readonly #held = new Map<number, Holder>();

  constructor(options: PortPoolOptions) {
    const [first, last] = options.range;
    this.#range = [first, last];
    this.#clock = options.clock;
    this.#leaseMs = options.leaseMs ?? 60_000;
    this.#probe = options.probe ?? isBindable;
    this.#free = new Set(Array.from({ length: last - first + 1 }, (_, index) => first + index));
  }

  get freeCount(): number {
    this.#reclaimLeases();
    return this.#free.size;
  }

  get capacity(): number {
    return this.#range[1] - this.#range[0] + 1;
  }

  /** Ports held by one kernel, in the order in which it got them. */
  portsOf(kernelId: KernelId): readonly number[] {
    return [...this.#held].flatMap(([port, holder]) =>
      holder.kind === 'kernel' && holder.kernelId === kernelId ? [port] : [],
    );
  }

  /** Every port that a kernel holds. */
  holders(): ReadonlyMap<number, KernelId> {
    return new Map(
      [...this.#held].flatMap(([port, holder]) =>
        holder.kind === 'kernel' ? [[port, holder.kernelId] as const] : [],
      ),
    );
  }

  async acquire(kernelId: KernelId, count: number): Promise<readonly number[]> {
    const taken: number[] = [];
    try {
      for (let index = 0; index < count; index += 1)
        taken.push(await this.#take({ kind: 'kernel', kernelId }));
      return taken;
    } catch (error) {
      for (const port of taken) this.#giveBack(port);
      throw error;
    }
  }

  async exchange(kernelId: KernelId, ports: readonly number[]): Promise<readonly number[]> {
    const fresh = await this.acquire(kernelId, ports.length);
    for (const port of ports) {
      const holder = this.#held.get(port);
      if (holder?.kind === 'kernel' && holder.kernelId === kernelId) this.#giveBack(port);
    }
    return fresh;
  }

  preview(count: number): readonly number[] {
    this.#reclaimLeases();
    if (this.#free.size < count) throw this.#exhausted();
    return [...this.#free].slice(0, count);
  }

  /** Takes over leases too: that is how the port of a cluster's SSH comes to its kernel. */
  restore(kernelId: KernelId, ports: readonly number[]): void {
    for (const port of ports) {
      const holder = this.#held.get(port);
      if (holder?.kind === 'kernel' && holder.kernelId !== kernelId)
        throw new PortInUseError(
          `port ${String(port)} of kernel ${kernelId} belongs to kernel ${holder.kernelId} by now`,
          { details: { port, kernelId, holder: holder.kernelId } },
        );
    }
    for (const port of ports) {
      // A port outside the range belongs to a range of before; the kernel keeps it, the pool never hands it out.
      this.#free.delete(port);
      this.#held.set(port, { kind: 'kernel', kernelId });
    }
  }

  releaseAll(kernelId: KernelId): void {
    for (const port of this.portsOf(kernelId)) this.#giveBack(port);
  }

  /** Reserves a port for the manager's own use. @throws PortPoolExhaustedError */
  assign(): Promise<number> {
    return this.#take({ kind: 'lease', untilMs: this.#clock.monotonicMs() + this.#leaseMs });
  }

  /** Ends a lease. Idempotent; a port of a kernel stays with the kernel, one outside the range is ignored. */
  release(port: number): void {
    if (this.#held.get(port)?.kind === 'lease') this.#giveBack(port);
  }

  async #take(holder: Holder): Promise<number> {
    this.#reclaimLeases();
    // Each free port is tried once; one that something else has bound waits at the end of the line.
    const candidates = [...this.#free];
    for (const port of candidates) {
      if (!this.#free.delete(port)) continue;
      this.#held.set(port, holder);
      if (await this.#probe(port)) return port;
      this.#giveBack(port);
    }
    throw this.#exhausted();
  }

  #exhausted(): PortPoolExhaustedError {
    const [first, last] = this.#range;
    return new PortPoolExhaustedError(
      `no host port of ${String(first)}-${String(last)} is free: widen container.port-range or end kernels`,
      { retryable: true },
    );
  }

  #reclaimLeases(): void {
    const now = this.#clock.monotonicMs();
    for (const [port, holder] of this.#held)
      if (holder.kind === 'lease' && holder.untilMs <= now) this.#giveBack(port);
  }

  #giveBack(port: number): void {
    if (!this.#held.delete(port)) return;
    const [first, last] = this.#range;
    if (port >= first && port <= last) this.#free.add(port);
  }
}

function isBindable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
