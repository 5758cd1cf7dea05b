import type { MetadataValue } from './metadata-plugin.js';

/** One kernel's values by path below `/latest`, such as `meta-data/envs`; null: it has no such value. */
export type MetadataLeaves<Caller> = Readonly<
  Record<string, (caller: Caller) => Promise<MetadataValue | null> | MetadataValue | null>
>;

/** Where a path leads: to a list, to a value, or nowhere. */
export type MetadataPlace =
  | { readonly kind: 'list'; readonly names: readonly string[] }
  | { readonly kind: 'leaf'; readonly path: string }
  | { readonly kind: 'none' };

/** The one version whose values can be read; any name in its place lists the same applications. */
const VERSION = 'latest';
/** Where the values of plugins are. */
export const EXTENSIONS = 'extension';

/**
 * Finds a path (spec/kernel-lifecycle.md 7): `/` lists the version, `/{version}` the applications, a directory below
 * that its children, directories with a slash. Empty parts do not count. Pure.
 */
export function placeOf(path: string, leaves: readonly string[]): MetadataPlace {
  const [version, ...rest] = path.split('/').filter((part) => part !== '');
  if (version === undefined) return { kind: 'list', names: [`${VERSION}/`] };
  if (rest.length === 0) return { kind: 'list', names: applicationsOf(leaves) };
  if (version !== VERSION) return { kind: 'none' };
  const asked = rest.join('/');
  if (leaves.includes(asked)) return { kind: 'leaf', path: asked };
  const names = childrenOf(asked, leaves);
  return names.length === 0 ? { kind: 'none' } : { kind: 'list', names };
}

/** Plugins are applications of their own in the list, as `extension/<name>/`. */
const applicationsOf = (leaves: readonly string[]): string[] => [
  ...new Set(
    leaves.map((leaf) => {
      const [application = '', name = ''] = leaf.split('/');
      return application === EXTENSIONS ? `${application}/${name}/` : `${application}/`;
    }),
  ),
];

function childrenOf(directory: string, leaves: readonly string[]): string[] {
  const names = leaves
    .filter((leaf) => leaf.startsWith(`${directory}/`))
    .map((leaf) => {
      const [name = '', ...deeper] = leaf.slice(directory.length + 1).split('/');
      return deeper.length === 0 ? name : `${name}/`;
    });
  return [...new Set(names)].sort();
}
