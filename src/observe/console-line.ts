const COLOURS: Readonly<Record<string, string>> = {
  TRACE: '90',
  DEBUG: '90',
  INFO: '32',
  WARNING: '33',
  ERROR: '31',
  CRITICAL: '35',
};

/** One JSON log line as a person reads it: time, level, message, then the fields as `name=value`. */
export function consoleLine(json: string, colored: boolean): string {
  const { time, level, message, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const word = String(level);
  const paint = (text: string) => (colored ? `\u001b[${COLOURS[word] ?? '0'}m${text}\u001b[0m` : text);
  const facts = Object.entries(fields).map(([name, value]) => ` ${name}=${factText(value)}`);
  return `${String(time)} ${paint(word.padEnd(8))} ${String(message)}${facts.join('')}\n`;
}

/** Bare when it cannot be misread, JSON otherwise; so a line stays one line. */
function factText(value: unknown): string {
  const bare = typeof value === 'string' && /^[\w.:/@+,-]+$/.test(value);
  return bare ? value : JSON.stringify(value);
}
