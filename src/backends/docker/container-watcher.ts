import { setTimeout as wait } from 'node:timers/promises';
import { deferred, type Deferred } from '../../core/async.js';
import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { Logger } from '../../core/logger.js';
import type { KernelExit, KernelHandle } from '../backend.js';
import type { EngineContainers } from './engine-containers.js';
import type { Container, EngineEvent } from './engine-schemas.js';
import { EventFeed } from './event-feed.js';
import { isActive, outcomeOf, outcomeOfEnd, REMOVED, type Outcome } from './exit-outcome.js';
import { OWNER_LABEL } from './kernel-labels.js';

/** An end is asked about only when its event is late: the engine has enough to do with the end. */
const FIRST_LOOK_MS = { listening: 1000, deaf: 200 };

interface Watch {
  readonly handle: KernelHandle;
  readonly ended: Deferred<Outcome>;
  /** By the engine's clock; null: nobody has looked. */
  startedAt: string | null;
  /** Its end was asked for. */
  isExpected: boolean;
  /** When it last lost a process for lack of memory, by the engine's clock; null: it has not, or nobody has heard. */
  lastOomMs: number | null;
}

export interface ContainerWatcherOptions {
  readonly containers: Pick<EngineContainers, 'inspect' | 'list' | 'events'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often all watched containers are looked at although no event said so. */
  readonly sweepIntervalMs: number;
  /** A look has found the container running. */
  readonly onRunning?: (container: Container) => void;
  /** Containers have started or ended, or may have while nobody listened. */
  readonly onActivity?: () => void;
}

/**
 * Reports the end of every watched container once. One stream of events serves all agents of this process; when it
 * breaks it is resumed at the second of the last event, and all watched containers are compared with the engine's
 * list, so that what happened in between is found. An event is only a reason to look: the engine's answer decides,
 * so a late or repeated one does no harm; but for an end that was asked for, which the event tells where it can.
 * Containers that nobody watches, a sibling's for one, are not looked at.
 */
export class ContainerWatcher {
  readonly #containers: ContainerWatcherOptions['containers'];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sweepIntervalMs: number;
  readonly #onActivity: () => void;
  readonly #onRunning: (container: Container) => void;
  /** By container id. */
  readonly #watches = new Map<string, Watch>();
  /** One after another: a look that began before an event does not count as one after it. */
  readonly #looks = new KeyedQueue<string>();
  readonly #listeners = new Set<(exit: KernelExit) => void>();
  readonly #oomListeners = new Set<(handle: KernelHandle) => void>();
  readonly #closing = new AbortController();
  readonly #feed: EventFeed;
  #sweep: NodeJS.Timeout | null = null;

  constructor(options: ContainerWatcherOptions) {
    this.#containers = options.containers;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#sweepIntervalMs = options.sweepIntervalMs;
    this.#onActivity = options.onActivity ?? (() => undefined);
    this.#onRunning = options.onRunning ?? (() => undefined);
    this.#feed = new EventFeed({
      ...options,
      label: OWNER_LABEL,
      onConnect: async () => {
        this.#onActivity();
        await this.#compare();
      },
      onEvent: (event) => {
        this.#hear(event);
      },
    });
  }

  /** Listens until `close`. Resolves at once: an engine that is away is waited for. */
  open(): void {
    this.#feed.open();
    this.#sweep ??= setInterval(() => {
      void this.#compare().catch(() => undefined);
    }, this.#sweepIntervalMs).unref();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#sweep) clearInterval(this.#sweep);
    await this.#feed.close();
    await this.#looks.idle();
    this.#watches.clear();
    this.#listeners.clear();
    this.#oomListeners.clear();
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    // Distinct for each call, even with the same function.
    const own = (exit: KernelExit) => {
      listener(exit);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** A watched container has lost a process for lack of memory (spec/kernel-lifecycle.md 5.10). */
  onOom(listener: (handle: KernelHandle) => void): () => void {
    const own = (handle: KernelHandle) => {
      listener(handle);
    };
    this.#oomListeners.add(own);
    return () => {
      this.#oomListeners.delete(own);
    };
  }

  /** Also for one that is watched already. `container`: as it was seen to run. */
  watch(handle: KernelHandle, container: Container | null = null): void {
    if (this.#closing.signal.aborted) return;
    const startedAt = container?.State.StartedAt ?? null;
    const watch = this.#watches.get(handle.containerId);
    if (watch) watch.startedAt = startedAt ?? watch.startedAt;
    else
      this.#watches.set(handle.containerId, {
        handle,
        ended: deferred(),
        startedAt,
        isExpected: false,
        lastOomMs: null,
      });
  }

  isWatching(handle: KernelHandle): boolean {
    return this.#watches.has(handle.containerId);
  }

  /** The end of a watched container has been asked for, or will be at once. */
  expectEnd(handle: KernelHandle): void {
    const watch = this.#watches.get(handle.containerId);
    if (watch) watch.isExpected = true;
  }

  /** For a container that is started anew, or whose end concerns nobody. */
  forget(handle: KernelHandle): void {
    this.#watches.delete(handle.containerId);
  }

  /** Looks at a watched container and reports its end if it has ended. @returns whether it has. */
  async look(handle: KernelHandle): Promise<boolean> {
    await this.#look(handle.containerId);
    return !this.#watches.has(handle.containerId);
  }

  /** Waits until the end of a watched container has been reported, at most so long. @returns whether it has. */
  async ended(handle: KernelHandle, timeoutMs: number): Promise<boolean> {
    const deadline = this.#clock.monotonicMs() + timeoutMs;
    const firstMs = this.#feed.isListening ? FIRST_LOOK_MS.listening : FIRST_LOOK_MS.deaf;
    for (let pauseMs = firstMs; ; pauseMs = Math.min(2 * pauseMs, 500)) {
      const watch = this.#watches.get(handle.containerId);
      if (!watch) return true;
      // The event comes first as a rule; an engine that cannot tell is asked.
      const leftMs = deadline - this.#clock.monotonicMs();
      if (leftMs <= 0) return false;
      const pause = new AbortController();
      await Promise.race([
        watch.ended.promise,
        wait(Math.min(pauseMs, leftMs), undefined, { signal: pause.signal }).catch(() => undefined),
      ]);
      pause.abort();
      await this.#look(handle.containerId).catch((error: unknown) => {
        this.#warn(handle, 'cannot look at a container', error);
      });
    }
  }

  #hear(event: EngineEvent): void {
    this.#onActivity();
    if (event.Action === 'start') return;
    const watch = this.#watches.get(event.Actor.ID);
    if (!watch) return;
    if (event.Action === 'oom') {
      this.#hearOom(watch, event);
      return;
    }
    const outcome = watch.isExpected ? outcomeOfEnd(event, watch.startedAt) : null;
    if (outcome) {
      this.#report(watch, outcome);
      return;
    }
    this.#look(event.Actor.ID).catch((error: unknown) => {
      this.#warn(watch.handle, 'cannot look at a container', error);
    });
  }

  #hearOom(watch: Watch, { time, timeNano = time * 1e9 }: EngineEvent): void {
    const { agentId, kernelId } = watch.handle;
    watch.lastOomMs = timeNano / 1e6;
    this.#logger.warn('a kernel has run out of memory', { agentId, kernelId });
    for (const listener of [...this.#oomListeners])
      try {
        listener(watch.handle);
      } catch (error) {
        this.#warn(watch.handle, 'a listener to kernels out of memory failed', error);
      }
  }

  /** Looks at every watched container that the engine does not list as active. */
  async #compare(): Promise<void> {
    if (this.#watches.size === 0) return;
    const before = [...this.#watches.keys()];
    const listed = await this.#containers.list([OWNER_LABEL]);
    const active = new Set(listed.filter(({ State }) => State === 'running').map(({ Id }) => Id));
    for (const id of before) if (!active.has(id)) await this.#look(id);
  }

  #look(id: string): Promise<void> {
    return this.#looks.run(id, () => this.#lookOnce(id));
  }

  async #lookOnce(id: string): Promise<void> {
    const watch = this.#watches.get(id);
    if (!watch || this.#closing.signal.aborted) return;
    const container = await this.#containers.inspect(id);
    // Forgotten or replaced meanwhile?
    if (this.#watches.get(id) !== watch) return;
    if (container !== null && isActive(container)) {
      this.#onRunning(container);
      return;
    }
    this.#report(watch, container === null ? REMOVED : outcomeOf(container, watch.lastOomMs));
  }

  #report(watch: Watch, outcome: Outcome): void {
    this.#watches.delete(watch.handle.containerId);
    for (const listener of [...this.#listeners])
      try {
        listener({ handle: watch.handle, ...outcome });
      } catch (error) {
        this.#warn(watch.handle, 'a listener to kernel exits failed', error);
      }
    watch.ended.resolve(outcome);
  }

  #warn({ agentId, kernelId }: KernelHandle, message: string, error: unknown): void {
    this.#logger.warn(message, { agentId, kernelId, error: messageOf(error) });
  }
}
