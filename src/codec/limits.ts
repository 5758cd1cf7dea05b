/** Bounds of a decoder; every one of them is under the control of whoever sends bytes. */
export interface CodecLimits {
  /** Nesting of arrays and maps, and of tuples and objects inside a pickle. */
  readonly maxDepth: number;
  /** Values in one message, map keys included. */
  readonly maxItems: number;
  /** Length of all pickles of one message; one alone cannot have more either. */
  readonly maxPickleBytes: number;
}

export const DEFAULT_CODEC_LIMITS: CodecLimits = {
  maxDepth: 64,
  maxItems: 1_000_000,
  maxPickleBytes: 1024 * 1024,
};
