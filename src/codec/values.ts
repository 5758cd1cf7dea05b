import { canonicalUuid } from '../core/ids.js';

/**
 * The values JavaScript has no type for (spec/wire-protocol.md 4.3). All are immutable; `toString()` is the text a
 * reader would expect, and equal values have equal texts.
 */

export class Uuid {
  readonly text: string;
  /** @throws ValueError when the text is not a UUID. */
  constructor(text: string) {
    this.text = canonicalUuid(text);
  }
  toString(): string {
    return this.text;
  }
}

/** Exact decimal as Python writes it: `1.50`, `1E+30`, `-0`, `Infinity`, `NaN`. Never goes through a double. */
export class Decimal {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

/** Forces a float64 on the wire where a JavaScript number would be written as an integer: `2.0`. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
  valueOf(): number {
    return this.value;
  }
  toString(): string {
    return String(this.value);
  }
}

/** A path keeps its bytes, since POSIX paths need not be UTF-8; `path` shows undecodable ones as U+FFFD. */
abstract class PathValue {
  readonly bytes: Uint8Array;
  readonly path: string;
  constructor(path: string | Uint8Array) {
    // Python's empty path prints as a dot.
    this.bytes = path.length === 0 ? Buffer.from('.') : Buffer.from(path as string);
    this.path = Buffer.from(this.bytes).toString('utf8');
  }
  toString(): string {
    return this.path;
  }
}
export class PosixPath extends PathValue {
  readonly kind = 'posix-path';
}
export class PurePosixPath extends PathValue {
  readonly kind = 'pure-posix-path';
}
export class AutoDirectoryPath extends PathValue {
  readonly kind = 'auto-directory-path';
}

/** A member of one of the original's enum classes (`enums.ts`). */
export class EnumValue {
  readonly module: string;
  readonly className: string;
  readonly value: string | number;
  constructor(module: string, className: string, value: string | number) {
    this.module = module;
    this.className = className;
    this.value = value;
  }
  toString(): string {
    return String(this.value);
  }
}

/** Slot name -> exact decimal text, in order. */
export class ResourceSlot {
  readonly entries: readonly (readonly [slot: string, amount: string])[];
  constructor(entries: Iterable<readonly [string, string]>) {
    this.entries = [...entries];
  }
  static from(amounts: Readonly<Record<string, string>>): ResourceSlot {
    return new ResourceSlot(Object.entries(amounts));
  }
  toString(): string {
    return this.entries.map(([slot, amount]) => `${slot}=${amount}`).join(',');
  }
}

/** `parsed` tells whether the sender had split the name already; it changes bytes, not meaning. */
export class SlotName {
  readonly name: string;
  readonly parsed: boolean;
  constructor(name: string, parsed = false) {
    this.name = name;
    this.parsed = parsed;
  }
  /** `<device>.<major>:<minor>` split into its parts; absent parts are empty. */
  get parts(): { readonly device: string; readonly major: string; readonly minor: string } {
    const dot = this.name.indexOf('.');
    const device = dot < 0 ? this.name : this.name.slice(0, dot);
    const type = dot < 0 ? '' : this.name.slice(dot + 1);
    const colon = type.indexOf(':');
    return colon < 0
      ? { device, major: type, minor: '' }
      : { device, major: type.slice(0, colon), minor: type.slice(colon + 1) };
  }
  toString(): string {
    return this.name;
  }
}

/** A size in bytes, beyond the exact range of a double. */
export class BinarySize {
  readonly bytes: bigint;
  constructor(bytes: bigint) {
    this.bytes = bytes;
  }
  toString(): string {
    return this.bytes.toString();
  }
}

export interface ImageRefFields {
  readonly name: string;
  readonly project: string | null;
  readonly tag: string;
  readonly registry: string;
  readonly architecture: string;
  readonly isLocal: boolean;
}

export class ImageRef implements ImageRefFields {
  readonly name: string;
  readonly project: string | null;
  readonly tag: string;
  readonly registry: string;
  readonly architecture: string;
  readonly isLocal: boolean;
  constructor(fields: ImageRefFields) {
    this.name = fields.name;
    this.project = fields.project;
    this.tag = fields.tag;
    this.registry = fields.registry;
    this.architecture = fields.architecture;
    this.isLocal = fields.isLocal;
  }
  /** `registry/project/name:tag`, empty pieces left out. */
  get canonical(): string {
    const pieces = [this.registry, this.project, this.name].filter((piece) => piece !== null && piece !== '');
    return `${pieces.join('/')}:${this.tag}`;
  }
  /** The tag split into its first part and the platform tags (spec/wire-protocol.md 5.4). */
  get tagSet(): { readonly first: string; readonly platform: ReadonlyMap<string, string> } {
    const [first = '', ...rest] = this.tag.split('-');
    const platform = new Map<string, string>();
    for (const part of rest) {
      const match = /^([A-Za-z_]+)(\d+(?:\.\d+)*(?:[a-z][a-z0-9]*)?)?$/.exec(part);
      const key = match?.[1];
      if (key !== undefined) platform.set(key, match?.[2] ?? '');
    }
    return { first, platform };
  }
  toString(): string {
    return this.canonical;
  }
}

/** An extension of a code the dialect does not name; carried, never interpreted. */
export class UnknownExtension {
  readonly code: number;
  readonly data: Uint8Array;
  constructor(code: number, data: Uint8Array) {
    this.code = code;
    this.data = data;
  }
  toString(): string {
    return `ExtType(${String(this.code)})`;
  }
}
