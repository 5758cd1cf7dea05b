import type { Event, Observer, Socket } from 'zeromq';

/** How long after its socket an observer may still wait for the event that ends it. */
const LAST_EVENT_MS = 1000;

export interface EventWatch {
  /** To be called once the socket is closed. */
  end(): void;
}

/**
 * Hands a socket's connection events to a listener. The events explain failures but nothing depends on them, so a
 * socket that cannot be observed is used all the same: zeromq.js names its monitor after a memory address, which may
 * still be taken by one that is being closed.
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
