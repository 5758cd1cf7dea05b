// Schemas of the wire as the names of their types, and the structures behind the names.
import { code } from './markdown.mjs';

/** The wire type: what a schema says of itself, else what it is made of. */
export function typeOf(schema) {
  const { type, ...definition } = schema.def;
  const { description } = schema;
  // A map of values without a name of their own is described as one of anything.
  if (description !== undefined && !(type === 'pipe' && description.includes('map<str,any>')))
    return description;
  switch (type) {
    case 'pipe':
      return typeOf(definition.in);
    case 'optional':
    case 'default':
      return typeOf(definition.innerType);
    case 'nullable':
      return `${typeOf(definition.innerType)} or nil`;
    case 'array':
      return `array<${typeOf(definition.element)}>`;
    case 'tuple':
      return `[${definition.items.map(typeOf).join(', ')}]`;
    case 'record':
    case 'map':
      return `map<${typeOf(definition.keyType)},${typeOf(definition.valueType)}>`;
    case 'union':
      return [...new Set(definition.options.map(typeOf))].filter((name) => name !== '').join(' or ');
    case 'enum':
      return `str ${Object.values(definition.entries).join('|')}`;
    case 'literal':
      return definition.values.map((value) => JSON.stringify(value)).join('|');
    case 'object':
      return `{${Object.entries(definition.shape)
        .map(([name, value]) => `${name}${isOptional(value) ? '?' : ''}: ${typeOf(value)}`)
        .join(', ')}}`;
    case 'string':
      return 'str';
    case 'number':
    case 'bigint':
    case 'int':
      return 'int';
    case 'boolean':
      return 'bool';
    case 'null':
      return 'nil';
    case 'unknown':
      return 'any';
    // Instances of a codec class; the texts beside them in a union say enough.
    case 'custom':
      return '';
    default:
      throw new Error(`reference: no name for a schema of type ${type}`);
  }
}

function isOptional(schema) {
  const { type, innerType, in: input } = schema.def;
  if (type === 'optional' || type === 'default') return true;
  if (type === 'pipe') return isOptional(input);
  return type === 'nullable' ? isOptional(innerType) : false;
}

/** The named structures in a schema: `[name, rows of a table]`, outermost first. */
export function* structureOf(schema) {
  const { type, ...definition } = schema.def;
  switch (type) {
    case 'object': {
      const name = schema.description;
      if (name !== undefined && /^[A-Z]\w+$/.test(name))
        yield [
          name,
          Object.entries(definition.shape).map(([key, value]) => [
            code(`${key}${isOptional(value) ? '?' : ''}`),
            code(typeOf(value)),
          ]),
        ];
      for (const value of Object.values(definition.shape)) yield* structureOf(value);
      return;
    }
    case 'pipe': {
      // The description stands on the outside, the keys inside.
      const { description } = schema;
      const inner = description === undefined ? definition.in : describedAs(definition.in, description);
      yield* structureOf(inner);
      return;
    }
    case 'optional':
    case 'default':
    case 'nullable': {
      const name = schema.description?.replace(/ or nil$/, '');
      yield* structureOf(name === undefined ? definition.innerType : describedAs(definition.innerType, name));
      return;
    }
    case 'array':
      yield* structureOf(named(definition.element, schema.description, /^array<(\w+)>$/));
      return;
    case 'record':
    case 'map':
      yield* structureOf(named(definition.valueType, schema.description, /^map<str,(\w+)>$/));
      return;
    case 'tuple':
      for (const item of definition.items) yield* structureOf(item);
      return;
    case 'union':
      for (const option of definition.options)
        yield* structureOf(
          schema.description === undefined ? option : describedAs(option, schema.description),
        );
      return;
    default:
  }
}

/** The same schema under a name of its own, unless it has one. */
function describedAs(schema, description) {
  return schema.description === undefined ? { def: schema.def, description } : schema;
}

/** The part of a list or map under the name that the description of the whole gives it. */
function named(part, description, pattern) {
  const name = pattern.exec(description ?? '')?.[1];
  return name === undefined ? part : describedAs(part, name);
}
