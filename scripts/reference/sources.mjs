// The sources as TypeScript sees them, without types: enough to read declarations off them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { byName } from './markdown.mjs';

const src = fileURLToPath(new URL('../../src', import.meta.url));

/** Every file of src, by path, in order. */
export function sourceFiles() {
  return readdirSync(src, { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .sort(byName)
    .map(sourceFile);
}

export function sourceFile(name) {
  return ts.createSourceFile(name, readFileSync(join(src, name), 'utf8'), ts.ScriptTarget.Latest, true);
}

/** Every node below, itself included. */
export function* nodesOf(node) {
  yield node;
  const children = [];
  ts.forEachChild(node, (child) => void children.push(child));
  for (const child of children) yield* nodesOf(child);
}

/** The documentation comment of a declaration on one line, without its references to the specification. */
export function docOf(node) {
  const text = ts
    .getJSDocCommentsAndTags(node)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '')
    .join(' ');
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/ \((?:spec|design)\b[^)]*\)/g, '')
    .trim();
}

/** The value of a literal: text, number, list or object of them, or a constant of the same file; undefined for anything else. */
export function literal(node) {
  if (node === undefined) return undefined;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node)) return literal(node.expression);
  if (ts.isIdentifier(node)) return literal(constantOf(node));
  if (ts.isArrayLiteralExpression(node))
    return node.elements.flatMap((element) =>
      ts.isSpreadElement(element) ? (literal(element.expression) ?? []) : [literal(element)],
    );
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [literal(node.left), literal(node.right)];
    return left === undefined || right === undefined ? undefined : left + right;
  }
  if (!ts.isObjectLiteralExpression(node)) return undefined;
  return Object.fromEntries(
    node.properties
      .filter((property) => ts.isPropertyAssignment(property) || ts.isShorthandPropertyAssignment(property))
      .map((property) => [nameOf(property.name), literal(property.initializer ?? property.name)]),
  );
}

/** What the constant of this name is set to, in the file of the node. */
function constantOf(identifier) {
  for (const node of nodesOf(identifier.getSourceFile()))
    if (
      ts.isVariableDeclaration(node) &&
      node.name.getText() === identifier.text &&
      ts.isVariableDeclarationList(node.parent) &&
      node.parent.flags & ts.NodeFlags.Const
    )
      return node.initializer;
  return undefined;
}

export const nameOf = (name) => (ts.isStringLiteralLike(name) ? name.text : name.getText());
