/** What one metric of an exposition looks like. */
export interface ExposedMetric {
  readonly type: string;
  /** Label names of its samples, `le` left out; empty without a sample. */
  readonly labels: ReadonlySet<string>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const VALUE = '(?:[+-]?(?:\\d+(?:\\.\\d*)?|\\.\\d+)(?:[eE][+-]?\\d+)?|[+-]?Inf|NaN)';
const HELP = new RegExp(`^# HELP (${NAME}) .+$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? ${VALUE}(?: -?\\d+)?$`);

/** Reads the Prometheus text format 0.0.4 by its grammar. @throws for the first line that is not in it. */
export function parsePrometheusText(text: string): ReadonlyMap<string, ExposedMetric> {
  if (!text.endsWith('\n')) throw new Error('the exposition does not end with a line feed');
  const found = new Map<string, { type: string; labels: Set<string> }>();
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '' || HELP.test(line)) continue;
    const type = TYPE.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      if (found.has(type[1])) throw new Error(`${type[1]} has two types`);
      found.set(type[1], { type: type[2], labels: new Set() });
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (sample?.[1] === undefined) throw new Error(`line ${String(index + 1)} is no sample: ${line}`);
    const name = sample[1];
    const metric = found.get(name) ?? found.get(name.replace(/_(?:bucket|sum|count)$/, ''));
    if (!metric) throw new Error(`${name} has no type`);
    for (const [, label] of (sample[2] ?? '').matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*"/g))
      if (label !== undefined && label !== 'le') metric.labels.add(label);
  }
  return found;
}
