import { SpleniumError } from '../core/errors.js';

/** An event is neither on disk nor with the event store: if the daemon ends now, nobody hears of it. */
export class EventNotKeptError extends SpleniumError {
  override readonly code = 'EVENT_NOT_KEPT';
  override readonly pythonName = 'RuntimeError';
}
