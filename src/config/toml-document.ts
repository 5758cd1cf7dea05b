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
    values: getStaticTOMLValue(ast) as RawTable,
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
  const visit = (node: AST.TOMLKeyValue | AST.TOMLTable, prefix: readonly (string | number)[]): void => {
    if (node.type === 'TOMLTable') {
      record(node.resolvedKey, node);
      for (const entry of node.body) visit(entry, node.resolvedKey);
      return;
    }
    const path = [...prefix, ...keysOf(node.key)];
    record(path, node.value);
    if (node.value.type === 'TOMLInlineTable') for (const entry of node.value.body) visit(entry, path);
  };
  const record = (path: readonly (string | number)[], node: AST.TOMLNode): void => {
    positions.set(pathKey(path), { line: node.loc.start.line, column: node.loc.start.column + 1 });
  };
  for (const node of ast.body[0].body) visit(node, []);
  return positions;
}

export function keysOf(key: AST.TOMLKey): string[] {
  return key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value));
}
