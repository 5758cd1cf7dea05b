import { ValueError } from '../../core/errors.js';

/** Names of images and what stands in them (spec/kernel-lifecycle.md 5.3). */

const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._:@/-]*$/;
const LEADS_ELSEWHERE = /(^|\/)\.{0,2}(\/|$)/;

/**
 * A name or id that is safe in the path of a call to the engine: callers send what they like, and the engine would
 * follow `..` to something that is no image. @throws ValueError
 */
export function pathSafe(name: string): string {
  if (PLAIN_NAME.test(name) && !LEADS_ELSEWHERE.test(name)) return name;
  throw new ValueError(`'${name.slice(0, 200)}' is no name of an image`);
}

/** Without a tag the engine would take all of them. */
export function tagged(canonical: string): string {
  return canonical.includes('@') || /:[^/]*$/.test(canonical) ? canonical : `${canonical}:latest`;
}

/** A name and its tag apart, as the engine wants them for a push; a digest is no tag. */
export function nameAndTag(canonical: string): { readonly name: string; readonly tag: string } {
  const colon = canonical.includes('@') ? -1 : canonical.lastIndexOf(':');
  return colon > canonical.lastIndexOf('/')
    ? { name: canonical.slice(0, colon), tag: canonical.slice(colon + 1) }
    : { name: canonical, tag: 'latest' };
}

/** Begins and ends with a letter or digit; hyphens, dots and underscores only between. */
const TAG = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** Why managers cannot tell what this name of an image means; null when they can. */
export function namingProblem(canonical: string): string | null {
  if (canonical.includes('://') || canonical.startsWith('//')) return 'it is an address and no name';
  // What stands before the first slash is the registry, whose port is no tag.
  const local = canonical.slice(canonical.indexOf('/') + 1);
  const colon = local.lastIndexOf(':');
  const name = colon < 0 ? local : local.slice(0, colon);
  const tag = colon < 0 ? 'latest' : local.slice(colon + 1);
  if (name === '') return 'the name is empty';
  return TAG.test(tag) ? null : `the tag '${tag}' must begin and end with a letter or digit`;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  x64: 'x86_64',
  arm64: 'aarch64',
  x32: 'x86',
  i686: 'x86',
};

/** By the name that managers use; what the engine does not say is `x86_64`. */
export function architectureOf(engineName: string): string {
  const name = engineName.toLowerCase();
  return name === '' ? 'x86_64' : (ARCHITECTURES[name] ?? name);
}
