import { PickleRefusedError } from '../errors.js';
import { enumMember, enumMemberByName, findEnumClass } from '../enums.js';
import type { EnumValue } from '../values.js';
import { BinarySize, Decimal, ImageRef, ResourceSlot, SlotName } from '../values.js';

/** What may lie on the stack of the restricted reader. */
export type PickleItem =
  | null
  | boolean
  | bigint
  | string
  | PickleItem[]
  | Map<string, PickleItem>
  | ClassReference
  | Instance
  | Decimal
  | EnumValue
  | BinarySize;

type InstanceKind = 'ResourceSlot' | 'SlotName' | 'ImageRef' | 'PlatformTagSet';
type ClassKind = InstanceKind | 'Decimal' | 'BinarySize' | 'getattr';

/** A class the pickle named; only what the table below lists ever becomes one. */
export class ClassReference {
  readonly kind: ClassKind | 'enum';
  readonly module: string;
  readonly name: string;
  constructor(kind: ClassKind | 'enum', module: string, name: string) {
    this.kind = kind;
    this.module = module;
    this.name = name;
  }
}

/** An object under construction: memoised before BUILD gives it its state, so it stays mutable until the end. */
export class Instance {
  readonly kind: InstanceKind;
  readonly argument: string | null;
  state: PickleItem | undefined;
  constructor(kind: InstanceKind, argument: string | null) {
    this.kind = kind;
    this.argument = argument;
  }

  finish(): ResourceSlot | SlotName | ImageRef {
    switch (this.kind) {
      case 'ResourceSlot':
        return finishResourceSlot(this);
      case 'SlotName':
        return finishSlotName(this);
      case 'ImageRef':
        return finishImageRef(this);
      case 'PlatformTagSet':
        throw new PickleRefusedError('a PlatformTagSet alone is not a value of the protocol');
    }
  }
}

const TYPES = 'ai.backend.common.types';
const DOCKER = 'ai.backend.common.docker';
const CLASSES = new Map<string, ClassKind>([
  ['decimal\0Decimal', 'Decimal'],
  ['builtins\0getattr', 'getattr'],
  [`${TYPES}\0ResourceSlot`, 'ResourceSlot'],
  [`${TYPES}\0SlotName`, 'SlotName'],
  [`${TYPES}\0BinarySize`, 'BinarySize'],
  [`${DOCKER}\0ImageRef`, 'ImageRef'],
  [`${DOCKER}\0PlatformTagSet`, 'PlatformTagSet'],
]);

/** STACK_GLOBAL: both names are compared whole with the table. */
export function className(module: PickleItem, name: PickleItem): ClassReference {
  if (typeof module !== 'string' || typeof name !== 'string')
    throw new PickleRefusedError('a class name is not text');
  const kind = CLASSES.get(`${module}\0${name}`) ?? (findEnumClass(module, name) ? 'enum' : undefined);
  if (kind === undefined)
    throw new PickleRefusedError(`${clip(module)}.${clip(name)} is not on the list of known classes`);
  return new ClassReference(kind, module, name);
}

/** REDUCE */
export function call(callable: PickleItem, argument: PickleItem): PickleItem {
  const [target, args] = classAndArguments(callable, argument);
  switch (target.kind) {
    case 'Decimal':
      return decimal(single(args, target));
    case 'BinarySize':
      return binarySize(single(args, target));
    case 'enum':
      return enumByValue(target, single(args, target));
    case 'getattr':
      return enumByName(args);
    case 'ResourceSlot':
      return resourceSlotFromMap(single(args, target));
    case 'SlotName':
      return new Instance('SlotName', text(single(args, target), 'SlotName'));
    case 'ImageRef':
      return imageRefFromArguments(args);
    case 'PlatformTagSet':
      throw new PickleRefusedError('PlatformTagSet is not built by a call');
  }
}

/** NEWOBJ */
export function instantiate(callable: PickleItem, argument: PickleItem): PickleItem {
  const [target, args] = classAndArguments(callable, argument);
  switch (target.kind) {
    case 'BinarySize':
      return binarySize(single(args, target));
    case 'SlotName':
      return new Instance('SlotName', text(single(args, target), 'SlotName'));
    case 'ResourceSlot':
    case 'ImageRef':
    case 'PlatformTagSet':
      if (args.length !== 0) throw new PickleRefusedError(`${target.name} takes no arguments here`);
      return new Instance(target.kind, null);
    default:
      throw new PickleRefusedError(`${target.name} is not built this way`);
  }
}

/** BUILD */
export function applyState(target: PickleItem, state: PickleItem): void {
  if (!(target instanceof Instance)) throw new PickleRefusedError('BUILD on something that has no state');
  target.state = state;
}

function classAndArguments(callable: PickleItem, argument: PickleItem): [ClassReference, PickleItem[]] {
  if (!(callable instanceof ClassReference))
    throw new PickleRefusedError('called something that is not a class');
  if (!Array.isArray(argument))
    throw new PickleRefusedError(`the arguments of ${callable.name} are not a tuple`);
  return [callable, argument];
}

function single(args: readonly PickleItem[], target: ClassReference): PickleItem {
  const [first] = args;
  if (args.length !== 1 || first === undefined)
    throw new PickleRefusedError(`${target.name} takes one argument`);
  return first;
}

const DECIMAL = /^-?(?:\d+(?:\.\d*)?(?:E[+-]?\d+)?|\.\d+(?:E[+-]?\d+)?|Infinity|s?NaN\d*)$/;

function decimal(value: PickleItem): Decimal {
  const literal = text(value, 'Decimal');
  if (!DECIMAL.test(literal)) throw new PickleRefusedError('not a decimal literal');
  return new Decimal(literal);
}

function binarySize(value: PickleItem): BinarySize {
  if (typeof value !== 'bigint') throw new PickleRefusedError('BinarySize is not an integer');
  return new BinarySize(value);
}

function enumByValue(target: ClassReference, value: PickleItem): EnumValue {
  const found = findEnumClass(target.module, target.name);
  const plain =
    value instanceof Instance ? String(value.finish()) : typeof value === 'bigint' ? Number(value) : value;
  const member = found && enumMember(found, plain);
  if (!member) throw new PickleRefusedError(`${target.name} has no such member`);
  return member;
}

/** Early CPython 3.11 writes `getattr(class, member name)`; exactly that and nothing else of `builtins`. */
function enumByName(args: readonly PickleItem[]): EnumValue {
  const [target, memberName] = args;
  if (
    args.length !== 2 ||
    !(target instanceof ClassReference) ||
    target.kind !== 'enum' ||
    typeof memberName !== 'string'
  )
    throw new PickleRefusedError('getattr is only accepted on a known enum class');
  const found = findEnumClass(target.module, target.name);
  const member = found && enumMemberByName(found, memberName);
  if (!member) throw new PickleRefusedError(`${target.name} has no such member`);
  return member;
}

function resourceSlotFromMap(value: PickleItem): Instance {
  if (!(value instanceof Map)) throw new PickleRefusedError('ResourceSlot is built from a map');
  const amounts = new Map([...value].map(([slot, amount]) => [slot, decimal(amount)] as const));
  const instance = new Instance('ResourceSlot', null);
  instance.state = [null, new Map<string, PickleItem>([['data', amounts]])];
  return instance;
}

function imageRefFromArguments(args: readonly PickleItem[]): Instance {
  if (args.length !== 6) throw new PickleRefusedError('ImageRef takes six arguments');
  const keys = ['name', 'project', 'tag', 'registry', 'architecture', 'is_local'];
  const instance = new Instance('ImageRef', null);
  instance.state = new Map(keys.map((key, index) => [key, args[index] ?? null]));
  return instance;
}

function finishResourceSlot(instance: Instance): ResourceSlot {
  const data = field(mapOf(pair(instance.state, 'ResourceSlot')[1], 'ResourceSlot'), 'data');
  const entries = [...mapOf(data, 'ResourceSlot.data')].map(([slot, amount]): readonly [string, string] => {
    if (!(amount instanceof Decimal))
      throw new PickleRefusedError(`the amount of ${clip(slot)} is not a Decimal`);
    return [slot, amount.text];
  });
  return new ResourceSlot(entries);
}

function finishSlotName(instance: Instance): SlotName {
  if (instance.state === undefined) return new SlotName(instance.argument ?? '');
  const [attributes, slots] = pair(instance.state, 'SlotName');
  const name = text(field(mapOf(attributes, 'SlotName'), 'data'), 'SlotName.data');
  // The other three attributes are derived from the name; only this flag changes what a writer would write.
  const parsed = field(mapOf(slots, 'SlotName'), '_parsed');
  if (typeof parsed !== 'boolean') throw new PickleRefusedError('SlotName._parsed is not a boolean');
  return new SlotName(name, parsed);
}

const IMAGE_KEYS = new Set(['name', 'project', 'tag', 'registry', 'architecture', 'is_local', '_tag_set']);

function finishImageRef(instance: Instance): ImageRef {
  const state = mapOf(instance.state, 'ImageRef');
  for (const key of state.keys())
    if (!IMAGE_KEYS.has(key)) throw new PickleRefusedError(`ImageRef has no attribute ${clip(key)}`);
  const project = field(state, 'project');
  const isLocal = field(state, 'is_local');
  if (typeof isLocal !== 'boolean') throw new PickleRefusedError('ImageRef.is_local is not a boolean');
  return new ImageRef({
    name: text(field(state, 'name'), 'ImageRef.name'),
    project: project === null ? null : text(project, 'ImageRef.project'),
    tag: text(field(state, 'tag'), 'ImageRef.tag'),
    registry: text(field(state, 'registry'), 'ImageRef.registry'),
    architecture: text(field(state, 'architecture'), 'ImageRef.architecture'),
    isLocal,
  });
}

function pair(state: PickleItem | undefined, what: string): readonly [PickleItem, PickleItem] {
  if (!Array.isArray(state) || state.length !== 2)
    throw new PickleRefusedError(`the state of ${what} is not a pair`);
  return [state[0] ?? null, state[1] ?? null];
}

function mapOf(item: PickleItem | undefined, what: string): Map<string, PickleItem> {
  if (!(item instanceof Map)) throw new PickleRefusedError(`the state of ${what} is not a map`);
  return item;
}

function field(state: Map<string, PickleItem>, key: string): PickleItem {
  const value = state.get(key);
  if (value === undefined) throw new PickleRefusedError(`the state lacks ${key}`);
  return value;
}

function text(value: PickleItem, what: string): string {
  if (typeof value !== 'string') throw new PickleRefusedError(`${what} is not text`);
  return value;
}

const clip = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}…` : name);
