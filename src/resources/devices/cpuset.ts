import { ValueError } from '../../core/errors.js';

const RANGE = /^(\d{1,6})(?:-(\d{1,6}))?$/;

/** Reads the kernel's list form: `0-1,5-8,120`. @throws ValueError for anything else, the empty text too. */
export function parseCpuset(text: string): readonly number[] {
  const cores = new Set<number>();
  for (const part of text.trim().split(',')) {
    const match = RANGE.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || first > last)
      throw new ValueError(`not a set of cores such as "0-3,8": '${text.slice(0, 80)}'`);
    for (let core = first; core <= last; core += 1) cores.add(core);
  }
  return [...cores].sort((a, b) => a - b);
}

/** The shortest list form. */
export const formatCpuset = (cores: Iterable<number>): string =>
  [...new Set(cores)].sort((a, b) => a - b).join(',');
