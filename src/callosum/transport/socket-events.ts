import type { Event, Observer, Socket } from 'zeromq';

/** How long after its socket an observer may still wait for the event that ends it. */
const LAST_EVENT_MS = 1000;

export interface EventWatch {
  /** To be called once the socket is closed. */
  end(): void;
}

/** Sockets made until one can be observed. */
const ATTEMPTS = 3;

/**
 * Makes a socket whose events can be observed: zeromq.js names the monitor after a memory address, which in the same
 * context may still be taken by one that is being closed. Another socket lies elsewhere.
 */
export function createObserved<S extends Socket>(
  create: () => S,
  onEvent: (event: Event) => void,
): { readonly socket: S; readonly watch: EventWatch } {
  const unobserved: S[] = [];
  try {
    for (let attempt = 1; ; attempt++) {
      const socket = create();
      if (attempt === ATTEMPTS || isObservable(socket))
        return { socket, watch: watchEvents(socket, onEvent) };
      // Closed only at the end, or the next one might get the same address.
      unobserved.push(socket);
    }
  } finally {
    for (const socket of unobserved) socket.close();
  }
}

function isObservable(socket: Socket): boolean {
  try {
    return !socket.events.closed;
  } catch {
    return false;
  }
}

/**
 * Hands a socket's connection events to a listener. The events explain failures but nothing depends on them, so a
 * socket that cannot be observed is used all the same.
 *
 * Reads the events itself instead of `events.on()`, whose emitter belongs to whichever module registry loaded the
 * addon first.
 */
export function watchEvents(socket: Socket, onEvent: (event: Event) => void): EventWatch {
  let events: Observer;
  try {
    events = socket.events;
  } catch {
    return { end: () => undefined };
  }
  const ended = readEvents(events, onEvent);
  return {
    end: () => {
      // The last event does not always come, and an open observer would keep the process alive.
      const timer = setTimeout(() => {
        events.close();
      }, LAST_EVENT_MS).unref();
      void ended.then(() => {
        clearTimeout(timer);
      });
    },
  };
}

async function readEvents(events: Observer, onEvent: (event: Event) => void): Promise<void> {
  while (!events.closed) {
    let event: Event;
    try {
      event = await events.receive();
    } catch {
      // Only closing makes an observer fail.
      return;
    }
    if (event.type === 'end') return;
    onEvent(event);
  }
}
