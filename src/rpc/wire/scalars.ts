import { z } from 'zod';
import { Decimal, EnumValue, ImageRef, PosixPath, PurePosixPath, Uuid } from '../../codec/index.js';
import { asContainerId, canonicalUuid, parseKernelId, parseSessionId } from '../../core/ids.js';
import type { KernelImageRef } from '../../kernels/requests.js';

/**
 * Wire types of spec/rpc-functions.md 0.1 as schemas: unpacked values in, this program's values out. The description
 * of each is the name that documentation shows.
 */

export const text = z.string().describe('str');
export const bool = z.boolean().describe('bool');
export const bytes = z
  .custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected binary data')
  .describe('bin');
export const anything = z.unknown().describe('any');
export const nothing = z.null().describe('nil');

/** The type or nil. */
export function orNil<Value extends z.ZodType>(value: Value) {
  return value.nullable().describe(`${value.description ?? 'any'} or nil`);
}

/** Integers beyond 2^53 arrive as bigint and are none of ours. */
export const int = z.int().describe('int');
/** An integral float may arrive as an integer, and so may a `Decimal` of some caller. */
export const float = z.number().describe('float');

/** `str` or `ext(ENUM)`: Python peers send members of text enums as extension values. */
export const enumText = z
  .union([z.string(), z.instanceof(EnumValue)])
  .transform(String)
  .describe('enum-str');

/** One of some values, as text or enum member, in any case and with underscores for hyphens. */
export function enumOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z
    .union([z.string(), z.instanceof(EnumValue)])
    .transform((value) => {
      const given = String(value);
      const folded = given.toLowerCase().replaceAll('_', '-');
      return values.find((known) => known === folded) ?? given;
    })
    .pipe(z.enum(values))
    .describe(`enum-str ${values.join('|')}`);
}

export const pathText = z
  .union([z.string(), z.instanceof(PosixPath), z.instanceof(PurePosixPath)])
  .transform(String)
  .describe('str');

const uuidValue = z.union([z.string(), z.instanceof(Uuid)]);

/** A UUID in any spelling Python takes, or as `ext(UUID)`. @throws ValueError in Python's words, through `parse`. */
export const uuid = uuidValue.transform((value) => canonicalUuid(String(value))).describe('uuid-str');
export const kernelId = uuidValue.transform((value) => parseKernelId(String(value))).describe('uuid-str');
export const sessionId = uuidValue.transform((value) => parseSessionId(String(value))).describe('uuid-str');
export const containerId = z.string().transform(asContainerId).describe('str');

/** An exact amount as text. A bare number is taken as it prints. */
export const amount = z
  .union([z.string(), z.number(), z.bigint(), z.instanceof(Decimal)])
  .transform(String)
  .describe('decimal str');

/**
 * A map with text keys. Maps whose keys are extension values (enum members, slot names) are unpacked to a `Map` with
 * the keys' texts, so both forms mean the same.
 */
export function mapOf<Value extends z.ZodType>(value: Value) {
  return z
    .union([z.record(z.string(), value), z.map(z.string(), value)])
    .transform((map): Readonly<Record<string, z.output<Value>>> =>
      map instanceof Map ? Object.fromEntries(map) : map,
    )
    .describe(`map<str,${value.description ?? 'any'}>`);
}

export const anyMap = mapOf(anything);

/** The same architecture under its usual aliases (spec/rpc-functions.md 3.0.2). */
export const architecture = z
  .string()
  .transform((name) => ARCHITECTURES.get(name) ?? name)
  .describe('str');

const ARCHITECTURES = new Map([
  ['arm64', 'aarch64'],
  ['amd64', 'x86_64'],
  ['x64', 'x86_64'],
  ['x32', 'x86'],
  ['i686', 'x86'],
]);

export const imageRef = z
  .instanceof(ImageRef)
  .transform((ref): KernelImageRef => ({
    canonical: ref.canonical,
    architecture: ARCHITECTURES.get(ref.architecture) ?? ref.architecture,
    isLocal: ref.isLocal,
  }))
  .describe('ext(IMAGE_REF)');
