import type { KeyValue } from './key-value-store.js';

/** What a prefix read gives: text at the leaves. A node with a value of its own keeps it under the empty name. */
export type NestedMap = Map<string, string | NestedMap>;

type Node = string | NestedMap | undefined;
const isTree = (node: Node): node is NestedMap => node instanceof Map;

const UNQUOTED = /[A-Za-z0-9_.\-~]/;

/** One component of a key: every byte but `A-Z a-z 0-9 _ . - ~` percent-encoded (spec/events-and-stores.md 1.2). */
export function quoteComponent(text: string): string {
  let quoted = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte);
    quoted += UNQUOTED.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return quoted;
}

/** Decodes what can be decoded; a stray `%` stands for itself, as in Python. */
export function unquoteComponent(text: string): string {
  const bytes: number[] = [];
  for (let index = 0; index < text.length;) {
    const escaped = /^%([0-9A-Fa-f]{2})/.exec(text.slice(index, index + 3))?.[1];
    if (escaped === undefined) {
      const char = String.fromCodePoint(text.codePointAt(index) ?? 0);
      bytes.push(...Buffer.from(char, 'utf8'));
      index += char.length;
    } else {
      bytes.push(parseInt(escaped, 16));
      index += 3;
    }
  }
  return Buffer.from(bytes).toString('utf8');
}

/** Folds sorted pairs below a prefix into a tree (spec/events-and-stores.md 1.3). */
export function nest(pairs: readonly KeyValue[], prefix: string): NestedMap {
  const root: NestedMap = new Map();
  for (const [key, value] of pairs) {
    const rest = key.slice(prefix.length).replace(/^\//, '');
    const parts = rest.split('/').map(unquoteComponent);
    const leaf = parts.pop() ?? '';
    let node = root;
    for (const part of parts) node = childOf(node, part);
    const existing = node.get(leaf);
    if (isTree(existing)) existing.set('', value);
    else node.set(leaf, value);
  }
  return root;
}

function childOf(node: NestedMap, name: string): NestedMap {
  const existing = node.get(name);
  if (isTree(existing)) return existing;
  const child: NestedMap = new Map();
  if (existing !== undefined) child.set('', existing);
  node.set(name, child);
  return child;
}

/** The pairs that write a tree below a key; names are quoted. */
export function flatten(tree: NestedMap, key: string): readonly KeyValue[] {
  return [...tree].flatMap(([name, value]): readonly KeyValue[] => {
    const path = name === '' ? key : `${key}/${quoteComponent(name)}`;
    return isTree(value) ? flatten(value, path) : [[path, value]];
  });
}
