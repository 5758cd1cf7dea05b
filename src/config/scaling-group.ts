import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { copyFile, open, readFile, realpath, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type AST, parseTOML } from 'toml-eslint-parser';
import { RuntimeError } from '../core/errors.js';
import { syncDirectory } from '../disk/whole-file.js';
import { keysOf } from './toml-document.js';

/**
 * Writes an agent's scaling group back to the file it was configured from, keeping every comment and blank
 * (spec/rpc-functions.md 3.2): `[agent]` in single-agent mode, else the `[[agents]]` entry with that id. No such
 * entry: the file stays as it is. The old text stays beside it as `.bak`. Mode and owner's bits are kept, a symbolic
 * link is followed, and whoever reads meanwhile sees the old file or the new one.
 * @throws RuntimeError when others keep writing it, or the file system's own error; the file is then as it was.
 */
export async function updateScalingGroup(file: string, agentId: string, group: string): Promise<void> {
  const target = await realpath(file);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++)
    if (await replaceOnce(target, (text) => withScalingGroup(text, agentId, group))) return;
  throw new RuntimeError(`${file} keeps changing while its scaling group is written; try again`);
}

const ATTEMPTS = 20;

/** False when somebody else, such as a sibling agent, wrote the file meanwhile. */
async function replaceOnce(target: string, change: (text: string) => string): Promise<boolean> {
  const text = await readFile(target, 'utf8');
  const changed = change(text);
  if (changed === text) return true;
  await copyFile(target, `${target}.bak`);
  const { mode } = await stat(target);
  const temporary = `${target}.${randomUUID()}.new`;
  try {
    const handle = await open(temporary, 'wx', mode & 0o777);
    try {
      await handle.chmod(mode & 0o777);
      await handle.writeFile(changed);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Both at once, so that nothing of this process comes in between.
    const same = readFileSync(target, 'utf8') === text;
    if (same) renameSync(temporary, target);
    else await unlink(temporary);
    if (same) await syncDirectory(dirname(target));
    return same;
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** In the order in which they win when read. */
const KEYS = ['scaling-group', 'scaling_group', 'initial-resource-group-name', 'initial_resource_group_name'];

/** One `key = value` of the file with the full path of its value. */
interface Setting {
  readonly path: string;
  readonly entry: AST.TOMLKeyValue;
  /** Written inside braces, where a new key goes on the same line. */
  readonly inline: boolean;
}

/** The text with the group replaced or added; pure. */
export function withScalingGroup(text: string, agentId: string, group: string): string {
  const program = parseTOML(text, { tomlVersion: '1.0.0' }).body[0];
  const settings = [...settingsOf(program.body, [])];
  const section = sectionOf(program.body, settings, agentId);
  if (section === null) return text;
  const inSection = settings.filter(
    ({ path }) => path.startsWith(`${section}.`) && !path.slice(section.length + 1).includes('.'),
  );
  const quoted = JSON.stringify(group);
  const existing = KEYS.map((key) => inSection.find(({ path }) => path === `${section}.${key}`)).find(
    (setting) => setting !== undefined,
  );
  if (existing) return splice(text, existing.entry.value.range, quoted);
  const last = inSection.at(-1);
  if (!last) return withFirstKey(text, program.body, section, quoted);
  const [, end] = last.entry.range;
  if (last.inline) return splice(text, [end, end], `, scaling-group = ${quoted}`);
  // On a line of its own after the last key, spelled and indented like it, so that trailing comments stay in place.
  const lineStart = text.lastIndexOf('\n', last.entry.range[0]) + 1;
  const indentation = /^[ \t]*/.exec(text.slice(lineStart))?.[0] ?? '';
  const written = text.slice(...last.entry.key.range);
  const prefix = written.includes('.') ? written.slice(0, written.lastIndexOf('.') + 1) : '';
  return insertLine(text, end, `${indentation}${prefix}scaling-group = ${quoted}`);
}

function* settingsOf(
  body: readonly (AST.TOMLKeyValue | AST.TOMLTable)[],
  prefix: readonly (string | number)[],
  inline = false,
): Generator<Setting> {
  for (const node of body)
    if (node.type === 'TOMLTable') yield* settingsOf(node.body, node.resolvedKey);
    else yield* settingOf(node, [...prefix, ...keysOf(node.key)], inline);
}

function* settingOf(
  entry: AST.TOMLKeyValue,
  path: readonly (string | number)[],
  inline: boolean,
): Generator<Setting> {
  yield { path: path.join('.'), entry, inline };
  if (entry.value.type === 'TOMLInlineTable') yield* settingsOf(entry.value.body, path, true);
  if (entry.value.type === 'TOMLArray')
    for (const [index, item] of entry.value.elements.entries())
      if (item.type === 'TOMLInlineTable') yield* settingsOf(item.body, [...path, index], true);
}

/** `agent`, or `agents.1.agent` of the first entry with that id; null: none. */
function sectionOf(
  body: readonly (AST.TOMLKeyValue | AST.TOMLTable)[],
  settings: readonly Setting[],
  agentId: string,
): string | null {
  const several =
    settings.some(({ path }) => /^agents\.\d/.test(path)) ||
    body.some((node) => node.type === 'TOMLTable' && node.resolvedKey[0] === 'agents');
  if (!several) return 'agent';
  const id = settings.find(
    ({ path, entry }) =>
      /^agents\.\d+\.agent\.id$/.test(path) &&
      entry.value.type === 'TOMLValue' &&
      entry.value.value === agentId,
  );
  return id ? id.path.slice(0, -'.id'.length) : null;
}

/** The table stands, but is empty. */
function withFirstKey(
  text: string,
  body: readonly (AST.TOMLKeyValue | AST.TOMLTable)[],
  section: string,
  quoted: string,
): string {
  const table = body.find(
    (node): node is AST.TOMLTable => node.type === 'TOMLTable' && node.resolvedKey.join('.') === section,
  );
  return table ? insertLine(text, table.key.range[1], `scaling-group = ${quoted}`) : text;
}

/** Puts a line after the one that this place is on. */
function insertLine(text: string, place: number, line: string): string {
  const newline = text.indexOf('\n', place);
  if (newline < 0) return `${text}\n${line}`;
  const ending = text[newline - 1] === '\r' ? '\r\n' : '\n';
  const at = ending === '\r\n' ? newline - 1 : newline;
  return splice(text, [at, at], `${ending}${line}`);
}

const splice = (text: string, [start, end]: readonly [number, number], replacement: string): string =>
  text.slice(0, start) + replacement + text.slice(end);
