// Pieces of a page.

/** Text that stays what it is inside a table. */
export const cell = (text) =>
  String(text)
    .replaceAll('|', '\\|')
    .replaceAll(/\s*\n\s*/g, ' ');

export const code = (text) => (text === '' ? '' : `\`${text}\``);

/** A table; nothing when it has no rows. */
export function table(header, rows) {
  if (rows.length === 0) return '';
  const line = (cells) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(header), `|${header.map(() => ' --- |').join('')}`, ...rows.map(line)].join('\n');
}

/** Parts with a blank line between them; empty ones left out. */
export const parts = (...texts) => texts.filter((text) => text !== '').join('\n\n');

/** Two names of one thing compared the same way everywhere. */
export const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
