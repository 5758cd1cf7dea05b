import { SpleniumError } from '../core/errors.js';

/** The store does not answer, or refuses us: the message says which and why. */
export class StoreUnavailableError extends SpleniumError {
  override readonly code = 'STORE_UNAVAILABLE';
  override readonly pythonName = 'ConnectionError';
}

/** The store's file holds something else than this program wrote. */
export class StoreCorruptError extends SpleniumError {
  override readonly code = 'STORE_CORRUPT';
  override readonly pythonName = 'RuntimeError';
}

/** A certificate or key for a store cannot be used: the message names the file and what to do. */
export class StoreKeyFileError extends SpleniumError {
  override readonly code = 'STORE_KEY_FILE';
  override readonly pythonName = 'PermissionError';
}

/** The store refuses this one entry for what it is: no repeat can help. */
export class EntryRefusedError extends SpleniumError {
  override readonly code = 'ENTRY_REFUSED';
  override readonly pythonName = 'ValueError';
}
