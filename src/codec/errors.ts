import { SpleniumError } from '../core/errors.js';

/** Bytes that are not exactly one value of the dialect. */
export class DecodeError extends SpleniumError {
  override readonly code = 'CODEC_UNDECODABLE';
  override readonly pythonName = 'ValueError';
}

/** A pickle outside the restricted subset: it is refused, never executed. */
export class PickleRefusedError extends SpleniumError {
  override readonly code = 'CODEC_PICKLE_REFUSED';
  override readonly pythonName = 'UnpicklingError';
}

/** A value without an encoding; the message names the place inside the value. */
export class EncodeError extends SpleniumError {
  override readonly code = 'CODEC_UNENCODABLE';
  override readonly pythonName = 'TypeError';
}
