/** Which plugins of a kind are used (spec/config-and-resources.md 6.2). */
export interface PluginSelection {
  /** An `allow-…-plugins` list; null: everything that is not blocked. Empty: nothing. */
  readonly allow: readonly string[] | null;
  /** A `block-…-plugins` list; wins. */
  readonly block: readonly string[];
}

/** A plugin that this program brings. */
export interface BuiltinName {
  readonly key: string;
  /** The original's module, so that lists written for it mean the same here. */
  readonly pythonModule: string;
}

/** Does a name, or any of its other names, pass the lists? An item also stands for everything below it: `a.b` for `a.b.c`. */
export function isSelected(names: readonly string[], { allow, block }: PluginSelection): boolean {
  const isIn = (list: readonly string[]): boolean =>
    list.some((item) => names.some((name) => name === item || name.startsWith(`${item}.`)));
  return !isIn(block) && (allow === null || isIn(allow));
}

/** What is wrong with two lists that name the same; null when they do not. */
export function contradictionOf({ allow, block }: PluginSelection): string | null {
  const both = (allow ?? []).filter((item) => block.includes(item));
  return both.length === 0
    ? null
    : `allowlist and blocklist has union value '{${both.map((item) => `'${item}'`).join(', ')}}'`;
}

/** Packages to load: those asked for, and what the allow list names besides plugins of this program and of the original. */
export function packagesOf(
  { allow }: PluginSelection,
  packages: readonly string[],
  builtin: readonly BuiltinName[],
): { readonly packages: readonly string[]; readonly python: readonly string[] } {
  const named = (allow ?? []).filter(
    (item) =>
      !builtin.some(({ key, pythonModule }) => isSelected([key, pythonModule], { allow: [item], block: [] })),
  );
  const python = named.filter((name) => name.startsWith('ai.backend.'));
  return { packages: [...new Set([...packages, ...named.filter((name) => !python.includes(name))])], python };
}

/** `@scope/splenium-plugin-npu` has its settings under `npu`. */
export const settingsKey = (packageName: string): string =>
  packageName.replace(/^@[^/]*\//, '').replace(/^splenium-(?:(?:device|network|metadata)-)?plugin-/, '');
