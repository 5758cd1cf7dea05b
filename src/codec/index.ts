/** Backend.AI's dialect of msgpack, with a pickle reader that never executes anything (spec/wire-protocol.md 4, 5). */
export { createCodec } from './codec.js';
export type { Codec, CodecOptions } from './codec.js';
export { DateTime } from './date-time.js';
export type { DateTimeFields } from './date-time.js';
export { enumValue } from './enums.js';
export type { EnumClassName } from './enums.js';
export { DecodeError, EncodeError, PickleRefusedError } from './errors.js';
export type { CodecLimits } from './limits.js';
export type { Dialect } from './pickle/writer.js';
export {
  AutoDirectoryPath,
  BinarySize,
  Decimal,
  EnumValue,
  Float,
  ImageRef,
  PosixPath,
  PurePosixPath,
  ResourceSlot,
  SlotName,
  UnknownExtension,
  Uuid,
} from './values.js';
export type { ImageRefFields } from './values.js';
