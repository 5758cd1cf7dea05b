import { DateTime } from './date-time.js';
import { DecodeError } from './errors.js';
import { type CodecLimits, DEFAULT_CODEC_LIMITS } from './limits.js';
import { readMsgpack } from './msgpack-reader.js';
import { writeMsgpack } from './msgpack-writer.js';
import { type PickledValue, readPickle } from './pickle/reader.js';
import { type Dialect, writePickle } from './pickle/writer.js';
import { decodeTemporenc, encodeTemporenc } from './temporenc.js';
import {
  AutoDirectoryPath,
  BinarySize,
  Decimal,
  EnumValue,
  ImageRef,
  PosixPath,
  PurePosixPath,
  ResourceSlot,
  SlotName,
  UnknownExtension,
  Uuid,
} from './values.js';

/** Extension codes of spec/wire-protocol.md 4.3. */
const CODE = {
  uuid: 1,
  dateTime: 2,
  decimal: 3,
  posixPath: 4,
  purePosixPath: 5,
  enumMember: 6,
  imageRef: 7,
  resourceSlot: 8,
  slotName: 9,
  binarySize: 16,
  autoDirectoryPath: 17,
} as const;

/** Backend.AI's msgpack dialect: values to payload bytes and back. Stateless; share one. */
export interface Codec {
  /** @throws EncodeError naming the place inside the value. */
  pack(value: unknown): Uint8Array;
  /** As `pack`, with so many free bytes in the same memory right before the result. */
  packWithRoom(value: unknown, roomBytes: number): Uint8Array;
  /** @throws DecodeError or PickleRefusedError. */
  unpack(bytes: Uint8Array): unknown;
}

export interface CodecOptions {
  /** The manager's release line; default 25.17. */
  readonly dialect?: Dialect;
  readonly limits?: Partial<CodecLimits>;
}

export function createCodec(options: CodecOptions = {}): Codec {
  const dialect = options.dialect ?? '25.17';
  const limits = { ...DEFAULT_CODEC_LIMITS, ...options.limits };
  const extension = (object: object) => encodeExtension(object, dialect);
  return {
    pack: (value) => writeMsgpack(value, extension, 0),
    packWithRoom: (value, roomBytes) => writeMsgpack(value, extension, roomBytes),
    unpack: (bytes) => {
      let pickledBytes = 0;
      return readMsgpack(bytes, limits, (code, payload) => {
        const pickled = PICKLED.find(([pickledCode]) => pickledCode === code);
        if (!pickled) return decodeExtension(code, payload);
        pickledBytes += payload.length;
        if (pickledBytes > limits.maxPickleBytes)
          throw new DecodeError(`more than ${String(limits.maxPickleBytes)} bytes of pickles in one message`);
        return decodePickled(pickled, payload, limits);
      });
    },
  };
}

function encodeExtension(value: object, dialect: Dialect): { code: number; payload: Uint8Array } | undefined {
  if (value instanceof Uuid)
    return { code: CODE.uuid, payload: Buffer.from(value.text.replaceAll('-', ''), 'hex') };
  if (value instanceof DateTime) return { code: CODE.dateTime, payload: encodeTemporenc(value) };
  if (value instanceof PosixPath) return { code: CODE.posixPath, payload: value.bytes };
  if (value instanceof PurePosixPath) return { code: CODE.purePosixPath, payload: value.bytes };
  if (value instanceof AutoDirectoryPath) return { code: CODE.autoDirectoryPath, payload: value.bytes };
  if (value instanceof UnknownExtension) return { code: value.code, payload: value.data };
  const pickled = PICKLED.find(([, valueClass]) => value instanceof valueClass);
  return pickled && { code: pickled[0], payload: writePickle(value as PickledValue, dialect) };
}

/** Which class a pickle must hold under which code; a valid pickle of another class is refused. */
const PICKLED = [
  [CODE.decimal, Decimal],
  [CODE.enumMember, EnumValue],
  [CODE.imageRef, ImageRef],
  [CODE.resourceSlot, ResourceSlot],
  [CODE.slotName, SlotName],
  [CODE.binarySize, BinarySize],
] as const;

function decodeExtension(code: number, payload: Uint8Array): unknown {
  switch (code) {
    case CODE.uuid:
      if (payload.length !== 16) throw new DecodeError(`a UUID of ${String(payload.length)} bytes`);
      return new Uuid(Buffer.from(payload).toString('hex'));
    case CODE.dateTime:
      return decodeTemporenc(payload);
    case CODE.posixPath:
      return new PosixPath(payload);
    case CODE.purePosixPath:
      return new PurePosixPath(payload);
    case CODE.autoDirectoryPath:
      return new AutoDirectoryPath(payload);
    default:
      return new UnknownExtension(code, payload);
  }
}

function decodePickled(
  [code, valueClass]: (typeof PICKLED)[number],
  payload: Uint8Array,
  limits: CodecLimits,
): PickledValue {
  const value = readPickle(payload, limits);
  if (!(value instanceof valueClass))
    throw new DecodeError(
      `extension ${String(code)} holds a ${value.constructor.name}, not a ${valueClass.name}`,
    );
  return value;
}
