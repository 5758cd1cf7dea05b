import {
  AutoDirectoryPath,
  BinarySize,
  DateTime,
  Decimal,
  EnumValue,
  Float,
  ImageRef,
  PosixPath,
  PurePosixPath,
  ResourceSlot,
  SlotName,
  Uuid,
} from '../../src/codec/index.js';

interface ImageFields {
  name: string;
  project: string | null;
  tag: string;
  registry: string;
  architecture: string;
  is_local: boolean;
}

/** Turns the vectors' notation (`{"$uuid": …}`) into the codec's values. */
export function valueOf(noted: unknown): unknown {
  if (Array.isArray(noted)) return noted.map(valueOf);
  if (typeof noted === 'number') return Number.isInteger(noted) ? noted : new Float(noted);
  if (typeof noted !== 'object' || noted === null) return noted;
  const entries = Object.entries(noted);
  const [first] = entries;
  if (entries.length === 1 && first?.[0].startsWith('$') === true) return special(first[0], first[1]);
  return Object.fromEntries(entries.map(([key, value]) => [key, valueOf(value)]));
}

/** The vectors are ours, so the shape under each notation is taken on trust. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
function special(kind: string, value: any): unknown {
  switch (kind) {
    case '$uuid':
      return new Uuid(value);
    case '$datetime':
      return DateTime.parse(value);
    case '$decimal':
      return new Decimal(value);
    case '$posixpath':
      return new PosixPath(valueOf(value) as string | Uint8Array);
    case '$pureposixpath':
      return new PurePosixPath(value);
    case '$autodirpath':
      return new AutoDirectoryPath(value);
    case '$binarysize':
      return new BinarySize(BigInt(value));
    case '$int':
      return BigInt(value);
    case '$bytes':
      return Buffer.from(value, 'hex');
    case '$resourceslot':
      return new ResourceSlot(value);
    case '$float':
      return new Float(
        Number(
          String(value)
            .replace(/^(-?)inf$/, '$1Infinity')
            .replace('nan', 'NaN'),
        ),
      );
    case '$repeat': {
      const [unit, count] = value as [unknown, number];
      if (typeof unit === 'string') return unit.repeat(count);
      const repeated = valueOf(unit);
      if (repeated instanceof Uint8Array) return Buffer.concat(Array.from({ length: count }, () => repeated));
      if (Array.isArray(repeated)) return Array.from({ length: count }, () => repeated[0] as unknown);
      return Array.from({ length: count }, () => repeated);
    }
    case '$map':
      return new Map((value as [unknown, unknown][]).map(([key, item]) => [valueOf(key), valueOf(item)]));
    case '$enum': {
      const member = value as { module: string; qualname: string; value: string | number | object };
      const plain = typeof member.value === 'object' ? String(valueOf(member.value)) : member.value;
      return new EnumValue(member.module, member.qualname, plain);
    }
    case '$slotname': {
      const slot = value as { data: string; parsed: boolean };
      return new SlotName(slot.data, slot.parsed);
    }
    case '$imageref': {
      const { is_local: isLocal, ...fields } = value as ImageFields;
      return new ImageRef({ ...fields, isLocal });
    }
    default:
      throw new Error(`unknown notation ${kind}`);
  }
}

/** The form in which a decoded value is compared: maps with other than text keys by the text of their keys. */
export function decodedForm(value: unknown): unknown {
  if (value instanceof Float) return value.value;
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(decodedForm);
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]): [unknown, unknown] => [keyForm(key), decodedForm(item)]);
    return entries.every(([key]) => typeof key === 'string')
      ? Object.fromEntries(entries as [string, unknown][])
      : new Map(entries);
  }
  if (typeof value === 'object' && value !== null && isPlain(value))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodedForm(item)]));
  return value;
}

function keyForm(key: unknown): unknown {
  if (Array.isArray(key)) return JSON.stringify(key);
  if (key instanceof Uint8Array) return Buffer.from(key).toString('hex');
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- the codec's values all have a text
  return typeof key === 'object' && key !== null ? String(key) : key;
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
};
