import { ValueError } from '../core/errors.js';

/** The original's level names, lowest first; `NOTSET` lets everything through (spec/config-and-resources.md 1.6). */
export const LEVELS = ['NOTSET', 'TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'] as const;

export type Level = (typeof LEVELS)[number];

/**
 * Any case, but no abbreviation, as in the original.
 * @throws ValueError naming the levels there are.
 */
export function parseLevel(text: string): Level {
  const name = text.toUpperCase();
  const level = LEVELS.find((known) => known === name);
  if (level === undefined)
    throw new ValueError(`unknown log level '${text.slice(0, 32)}': use one of ${LEVELS.join(', ')}`);
  return level;
}

export const isAtLeast = (level: Level, threshold: Level): boolean =>
  LEVELS.indexOf(level) >= LEVELS.indexOf(threshold);
