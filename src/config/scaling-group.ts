import { copyFile, open, readFile, rename } from 'node:fs/promises';
import { type AST, parseTOML } from 'toml-eslint-parser';
import { keysOf } from './toml-document.js';

/**
 * Writes an agent's scaling group back to the file it was configured from, keeping every comment and blank
 * (spec/rpc-functions.md 3.2): `[agent]` in single-agent mode, else the `[[agents]]` entry with that id. No such
 * entry: the file stays as it is. The old file stays beside it as `.bak`.
 */
export async function updateScalingGroup(file: string, agentId: string, group: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  await copyFile(file, `${file}.bak`);
  const temporary = `${file}.${String(process.pid)}.new`;
  const handle = await open(temporary, 'w');
  try {
    await handle.writeFile(withScalingGroup(text, agentId, group));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

const KEYS = ['scaling-group', 'scaling_group', 'initial-resource-group-name', 'initial_resource_group_name'];

/** The text with the group replaced or added; pure. */
export function withScalingGroup(text: string, agentId: string, group: string): string {
  const tables = parseTOML(text, { tomlVersion: '1.0.0' }).body[0].body;
  const several = tables.some((node) => node.type === 'TOMLTable' && node.resolvedKey[0] === 'agents');
  const table = tables.find(
    (node): node is AST.TOMLTable =>
      node.type === 'TOMLTable' &&
      (several ? isEntryOf(node, agentId) : node.resolvedKey.join('.') === 'agent'),
  );
  if (!table) return text;
  const quoted = JSON.stringify(group);
  const existing = table.body.find((entry) => KEYS.includes(keysOf(entry.key).join('.')));
  if (existing) return splice(text, existing.value.range, quoted);
  // After the last key of the table, with its indentation, so that trailing comments stay where they are.
  const last = table.body.at(-1);
  const lineStart = text.lastIndexOf('\n', (last ?? table).range[0]) + 1;
  const indentation = /^[ \t]*/.exec(text.slice(lineStart))?.[0] ?? '';
  const header = text.indexOf('\n', last ? last.range[1] : table.key.range[1]);
  const at = header < 0 ? text.length : header;
  return splice(text, [at, at], `\n${indentation}scaling-group = ${quoted}`);
}

function isEntryOf(table: AST.TOMLTable, agentId: string): boolean {
  const [array, index, section] = table.resolvedKey;
  if (
    array !== 'agents' ||
    typeof index !== 'number' ||
    section !== 'agent' ||
    table.resolvedKey.length !== 3
  )
    return false;
  return table.body.some(
    (entry) =>
      keysOf(entry.key).join('.') === 'id' &&
      entry.value.type === 'TOMLValue' &&
      entry.value.value === agentId,
  );
}

const splice = (text: string, [start, end]: readonly [number, number], replacement: string): string =>
  text.slice(0, start) + replacement + text.slice(end);
