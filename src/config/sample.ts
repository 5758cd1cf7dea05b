import { type KeyDefinition, type TableDefinition, isTableDefinition } from './schema/definition.js';
import { SCHEMA } from './schema/index.js';
import { tomlKey, tomlValue } from './toml-value.js';

const WIDTH = 108;

/**
 * A file with every key: documented, commented out and at its default, or at an example where there is none.
 * As it stands it loads, and starts one agent on the embedded parts.
 */
export function sampleConfig(): string {
  return [
    '# Every key of the configuration. Lines commented out show the default; a key without one shows an example.',
    '# Kebab case and snake case are both read. Check a file with:  splenium config check --config FILE',
    ...Object.entries(SCHEMA.keys).flatMap(([name, definition]) =>
      isTableDefinition(definition)
        ? tableLines(name, definition, false)
        : ['', ...comment(documentation(definition)), `# [${name}]`],
    ),
    '',
    ...AGENTS,
    '',
  ].join('\n');
}

function tableLines(path: string, definition: TableDefinition, commented: boolean): string[] {
  const off = commented || definition.optional === true;
  const inner = Object.entries(definition.keys);
  const notes = [
    definition.doc,
    ...(definition.unused === true ? ['Accepted, but not used here.'] : []),
    ...(definition.perAgent === true ? ['One agent may have its own, as a whole.'] : []),
  ];
  return [
    '',
    ...comment(notes.join(' ')),
    `${off ? '# ' : ''}[${path}]`,
    ...inner.flatMap(([name, key]) => (isTableDefinition(key) ? [] : keyLines(name, key, off))),
    ...inner.flatMap(([name, table]) =>
      isTableDefinition(table) ? tableLines(`${path}.${name}`, table, off) : [],
    ),
  ];
}

function keyLines(name: string, definition: KeyDefinition, off: boolean): string[] {
  const set = definition.sample !== undefined && !off;
  const value = set ? definition.sample : (definition.default ?? definition.example);
  return [...comment(documentation(definition)), `${set ? '' : '# '}${tomlKey(name)} = ${tomlValue(value)}`];
}

function documentation(definition: KeyDefinition): string {
  const facts = [
    definition.parse.expects,
    ...(definition.unit === undefined ? [] : [`in ${definition.unit}`]),
    ...(definition.required === true
      ? ['required']
      : definition.default === null
        ? ['unset by default']
        : definition.sample === undefined
          ? []
          : [`default ${tomlValue(definition.default)}`]),
    ...(definition.aliases ? [`also ${definition.aliases.join(', ')}`] : []),
    ...(definition.env === undefined ? [] : [`environment ${definition.env}`]),
    ...(definition.perAgent === true ? ['per agent'] : []),
    ...(definition.unused === true ? ['not used here'] : []),
  ];
  return `${definition.doc}. Value: ${facts.join('; ')}.`;
}

/** Comment lines of `##`, so that a line with one `#` is always a setting. */
function comment(text: string): string[] {
  const lines: string[] = [];
  let line = '##';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > WIDTH) {
      lines.push(line);
      line = '##';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

const AGENTS = [
  '## Several agents in one process: two entries or more, the first is the default agent. Keys marked "per agent"',
  '## may stand in [agents.agent] and [agents.container]; [agents.resource] has the keys of [resource.allocations].',
  '# [[agents]]',
  '# [agents.agent]',
  '# id = "i-one"',
  '# [agents.container]',
  '# port-range = [30000, 30499]',
  '# [[agents]]',
  '# [agents.agent]',
  '# id = "i-two"',
  '# [agents.container]',
  '# port-range = [30500, 30999]',
];
