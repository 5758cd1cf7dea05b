// Every metric that the sources declare.
import ts from 'typescript';
import { byName, code, parts, table } from './markdown.mjs';
import { literal, nodesOf, sourceFiles } from './sources.mjs';

const KINDS = ['counter', 'gauge', 'histogram'];

function declaredMetrics() {
  const metrics = [];
  for (const file of sourceFiles()) {
    if (file.fileName === 'observe/metrics.ts') continue;
    for (const node of nodesOf(file)) {
      if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) continue;
      const kind = node.expression.name.text;
      const definition = literal(node.arguments[0]);
      if (!KINDS.includes(kind) || typeof definition?.name !== 'string') continue;
      metrics.push({ labels: [], ...definition, kind, file: file.fileName });
    }
  }
  return metrics.sort((a, b) => byName(a.name, b.name));
}

const usesProcessMetrics = () =>
  sourceFiles().some(
    ({ fileName, text }) => fileName !== 'observe/metrics.ts' && text.includes('.collectProcessMetrics()'),
  );

export function page() {
  const metrics = declaredMetrics();
  return parts(
    '# Metrics',
    'Served as Prometheus text under `/metrics` of the address `splenium.http-addr` ([configuration.md](configuration.md)). Names that start ' +
      'with `backendai_` are those of the original agent. All agents of a process share the series; where it matters, the label `agent` tells ' +
      'them apart. Beside each counter and histogram of the original stands a gauge `…_created` (without `_total`): since when the series counts, in ' +
      'seconds since the epoch.',
    table(
      ['name', 'kind', 'labels', 'meaning', 'source'],
      metrics.map(({ name, kind, labels, help, buckets, file }) => [
        code(name),
        kind,
        labels.map(code).join(', '),
        `${help}${buckets ? `; buckets ${buckets.join(', ')}` : ''}`,
        code(`src/${file}`),
      ]),
    ),
    usesProcessMetrics()
      ? 'Beside these stand the metrics of the process (memory, CPU time, event loop lag): `process_*` and `nodejs_*`.'
      : '',
  );
}
