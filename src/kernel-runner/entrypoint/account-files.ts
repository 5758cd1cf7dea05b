import type { KernelIdentity } from './identity.js';

export const USER_NAME = 'work';
const HOME = '/home/work';
/** The original's, so that images may rely on it. */
const READERS = { name: 'grpread', gid: 1002 };

/** Contents of `/etc/passwd`, `/etc/group` and `/etc/shadow`; null: the image has no such file. */
export interface AccountFiles {
  readonly passwd: string | null;
  readonly group: string | null;
  readonly shadow: string | null;
}

/**
 * The files with one user `work` of the wanted ids in them, and its groups (spec/kernel-runner.md 5.3). Whoever else
 * has the uid gives it up to `work`, and so does a `work` of other ids, which an image has that was committed from
 * another user's kernel. A group keeps its name, and a stale group `work` is renumbered or, when the gid has another
 * name, dropped. Nothing else changes. Pure.
 */
export function withKernelUser(
  files: AccountFiles,
  { uid, gid, additionalGids }: KernelIdentity,
  shell: string,
): AccountFiles {
  const groups = records(files.group ?? 'root:x:0:\n');
  const users = records(files.passwd ?? `root:x:0:0:root:/root:${shell}\n`);
  if (uid === 0) {
    addGroup(groups, READERS.name, READERS.gid);
    return { ...files, passwd: textOf(users), group: textOf(groups) };
  }
  const former = users.filter((user) => user[0] === USER_NAME || user[2] === String(uid));
  const formerNames = former.map(([name = '']) => name);
  const place = users.findIndex((user) => former.includes(user));
  const kept = users.filter((user) => !former.includes(user));
  const entry = [USER_NAME, 'x', String(uid), String(gid), former[0]?.[4] ?? '', HOME, shell];
  kept.splice(place < 0 ? kept.length : place, 0, entry);

  placeGroup(groups, gid);
  for (const group of groups)
    if (group.length > 3)
      group[3] = [
        ...new Set(members(group).map((name) => (formerNames.includes(name) ? USER_NAME : name))),
      ].join(',');
  if (former.length === 0) join(groups, READERS.name, READERS.gid);
  for (const id of additionalGids) join(groups, `gid${String(id)}`, id);
  return { passwd: textOf(kept), group: textOf(groups), shadow: shadowOf(files.shadow, formerNames) };
}

/** Fields of a line; one that is none stays as it is. */
type Line = string[];

const records = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
const textOf = (lines: readonly Line[]): string => lines.map((line) => `${line.join(':')}\n`).join('');
const members = (group: Line): string[] => (group[3] ?? '').split(',').filter((name) => name !== '');

function placeGroup(groups: Line[], gid: number): void {
  const stale = groups.findIndex((group) => group[0] === USER_NAME && group[2] !== String(gid));
  const isTaken = groups.some((group) => group[2] === String(gid));
  if (stale >= 0 && isTaken) groups.splice(stale, 1);
  else if (stale >= 0) groups[stale] = [USER_NAME, 'x', String(gid), groups[stale]?.[3] ?? ''];
  else if (!isTaken) groups.push([USER_NAME, 'x', String(gid), '']);
}

/** The group with the id, made when there is none; a name that is taken gets the number behind it. */
function addGroup(groups: Line[], name: string, gid: number): Line {
  const found = groups.find((group) => group[2] === String(gid));
  if (found) return found;
  const isTaken = groups.some(([other]) => other === name);
  const group = [isTaken ? `${name}${String(gid)}` : name, 'x', String(gid), ''];
  groups.push(group);
  return group;
}

function join(groups: Line[], name: string, gid: number): void {
  const group = addGroup(groups, name, gid);
  group[3] = [...new Set([...members(group), USER_NAME])].join(',');
}

/** Without a password for `work`, and none left of whom it replaces. */
function shadowOf(text: string | null, formerNames: readonly string[]): string | null {
  if (text === null) return null;
  const lines = records(text).filter(([name = '']) => name !== USER_NAME && !formerNames.includes(name));
  return textOf([...lines, [USER_NAME, '!', '', '', '', '', '', '', '']]);
}
