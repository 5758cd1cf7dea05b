import { type AST, getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { messageOf } from '../core/errors.js';
import { ConfigError, type Position } from './problems.js';

export type RawTable = Readonly<Record<string, unknown>>;

/** A TOML file with the place of every key, so that an error can point at it. */
export interface TomlDocument {
  readonly file: string;
  readonly values: RawTable;
  /** Path such as `['agents', 1, 'agent', 'id']` -> where its value is written. */
  positionOf(path: readonly (string | number)[]): Position | undefined;
}

/** @throws ConfigError pointing at the first syntax error. */
export function parseTomlDocument(text: string, file: string): TomlDocument {
  let ast: AST.TOMLProgram;
  try {
    ast = parseTOML(text, { tomlVersion: '1.0.0' });
  } catch (error) {
    throw new ConfigError([syntaxProblem(error, file)]);
  }
  const positions = collectPositions(ast);
  return {
    file,
    values: getStaticTOMLValue(ast),
    positionOf: (path) => positions.get(pathKey(path)),
  };
}

function syntaxProblem(error: unknown, file: string) {
  const place = error as { lineNumber?: unknown; column?: unknown };
  return {
    key: '',
    message: `not TOML: ${messageOf(error)}`,
    origin: file,
    ...(typeof place.lineNumber === 'number' && typeof place.column === 'number'
      ? { position: { line: place.lineNumber, column: place.column + 1 } }
      : {}),
  };
}

const pathKey = (path: readonly (string | number)[]): string => path.join('\0');

function collectPositions(ast: AST.TOMLProgram): Map<string, Position> {
  const positions = new Map<string, Position>();
  const record = (path: readonly (string | number)[], node: AST.TOMLNode): void => {
    const position = { line: node.loc.start.line, column: node.loc.start.column + 1 };
    positions.set(pathKey(path), position);
    // A table that is only implied by a dotted key or a deeper header begins where its first key does.
    for (let length = path.length - 1; length > 0; length--) {
      const implied = pathKey(path.slice(0, length));
      if (!positions.has(implied)) positions.set(implied, position);
    }
  };
  const visitValue = (node: AST.TOMLContentNode, path: readonly (string | number)[]): void => {
    record(path, node);
    if (node.type === 'TOMLInlineTable') for (const entry of node.body) visitEntry(entry, path);
    if (node.type === 'TOMLArray')
      for (const [index, item] of node.elements.entries()) visitValue(item, [...path, index]);
  };
  const visitEntry = (node: AST.TOMLKeyValue, prefix: readonly (string | number)[]): void => {
    visitValue(node.value, [...prefix, ...keysOf(node.key)]);
  };
  for (const node of ast.body[0].body)
    if (node.type === 'TOMLTable') {
      record(node.resolvedKey, node);
      for (const entry of node.body) visitEntry(entry, node.resolvedKey);
    } else visitEntry(node, []);
  return positions;
}

export function keysOf(key: AST.TOMLKey): string[] {
  return key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value));
}
