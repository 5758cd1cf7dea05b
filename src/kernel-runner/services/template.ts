/** Values a template may name: texts, port lists, results of prestart actions. */
export type TemplateValue =
  string | number | readonly TemplateValue[] | { readonly [key: string]: TemplateValue };
export type TemplateVariables = ReadonlyMap<string, TemplateValue>;

/** Says in Python's words what is wrong with a service; the text goes to the user as it is. */
export class ServiceError extends Error {}

const DOUBLE = String.raw`\$\{\{\s*([^{}]+?)\s*\}\}`;
const SINGLE = String.raw`(?<![$\{])\{\s*([^{}]+?)\s*\}`;

/**
 * Fills `${{ expr }}` and `{ expr }`; `$NAME` and `${NAME}` stay for the shell (spec/kernel-runner.md 4.8).
 * @throws ServiceError for an unknown variable or an expression outside what services use.
 */
export function interpolate(text: string, variables: TemplateVariables): string {
  return text.replace(new RegExp(`${DOUBLE}|${SINGLE}`, 'g'), (_, double?: string, single?: string) =>
    format(double ?? single ?? '', variables),
  );
}

/** Python's brace formatting, where doubled braces are literal ones; for arguments of prestart actions. */
export function formatBraces(text: string, variables: TemplateVariables): string {
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (match, expression?: string) =>
    expression === undefined ? match.slice(0, 1) : format(expression.trim(), variables),
  );
}

const EXPRESSION = /^([A-Za-z_]\w*)((?:\.\w+|\[[^\]]+\])*)(?:!([rsa]))?(?::(.*))?$/;

function format(expression: string, variables: TemplateVariables): string {
  const match = EXPRESSION.exec(expression);
  if (!match)
    throw new ServiceError(`InvalidServiceDefinition('cannot read the expression {${expression}}')`);
  const [, name = '', path = '', conversion, spec] = match;
  let value = variables.get(name);
  if (value === undefined) throw new ServiceError(`KeyError('${name}')`);
  for (const [, attribute, index] of path.matchAll(/\.(\w+)|\[([^\]]+)\]/g)) {
    const key = attribute ?? index ?? '';
    const next: TemplateValue | undefined = member(value, key);
    if (next === undefined) throw new ServiceError(`KeyError('${key}')`);
    value = next;
  }
  if (spec !== undefined && spec !== '')
    throw new ServiceError(
      `InvalidServiceDefinition('format specifications are not supported: {${expression}}')`,
    );
  return conversion === 'r' || conversion === 'a' || typeof value === 'object' ? repr(value) : String(value);
}

function member(value: TemplateValue, key: string): TemplateValue | undefined {
  if (typeof value !== 'object') return undefined;
  if (isList(value)) return /^\d+$/.test(key) ? value[Number(key)] : undefined;
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

function repr(value: TemplateValue): string {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (isList(value)) return `[${value.map(repr).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([key, item]) => `${repr(key)}: ${repr(item)}`)
    .join(', ')}}`;
}

const isList = (value: object): value is readonly TemplateValue[] => Array.isArray(value);
