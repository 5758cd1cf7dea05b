import { SpleniumError } from '../core/errors.js';

/** The metadata server cannot listen: the message names the address and the key to change. */
export class MetadataServerError extends SpleniumError {
  override readonly code = 'METADATA_SERVER_FAILED';
  override readonly pythonName = 'RuntimeError';
}
