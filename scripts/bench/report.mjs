// From the figures of all rounds to a table, ratios and goals.

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `what` is the figure of server a divided by that of the other one, in the same job of the same round. */
export const GOALS = [
  { what: 'CPU per call, of bare', job: 'w64', figure: 'cpuUs', other: 'bare', atMost: 1.3 },
  { what: 'CPU per call, of Python', job: 'w64', figure: 'cpuUs', other: 'python', atMost: 0.33 },
  { what: 'rate with window 64, of bare', job: 'w64', figure: 'rate', other: 'bare', atLeast: 0.8 },
  { what: 'rate with window 256, of bare', job: 'w256', figure: 'rate', other: 'bare', atLeast: 0.8 },
  { what: 'rate with window 64, of Python', job: 'w64', figure: 'rate', other: 'python', atLeast: 3.5 },
  { what: 'rate with window 256, of Python', job: 'w256', figure: 'rate', other: 'python', atLeast: 3.5 },
  {
    what: 'p50 with the Python client, of Python',
    job: 'py-seq',
    figure: 'p50Ms',
    other: 'python',
    atMost: 0.85,
  },
  {
    what: 'rate with the Python client, of Python',
    job: 'py-w64',
    figure: 'rate',
    other: 'python',
    atLeast: 1.3,
  },
  { what: 'rate with bodies of 1 MiB, of bare', job: 'm1', figure: 'rate', other: 'bare', atLeast: 0.7 },
];

const TITLES = {
  connect: 'connect and first call',
  seq: 'one call after another',
  w64: 'window 64',
  w256: 'window 256',
  k1: 'bodies of 1 KiB, window 64',
  k64: 'bodies of 64 KiB, window 32',
  m1: 'bodies of 1 MiB, window 4',
  c10: '10 connections, window 100',
  c100: '100 connections, window 100',
  'py-connect': 'Python client: connect and first call',
  'py-seq': 'Python client: one call after another',
  'py-w64': 'Python client: window 64',
};

const UNITS = {
  connectMs: 'ms',
  p50Ms: 'p50, ms',
  p99Ms: 'p99, ms',
  rate: 'calls/s',
  cpuUs: 'server CPU, µs/call',
};

/** Median over the rounds of the ratio within each round, which a machine that changes its pace does not touch. */
export function ratioOf(rounds, { job, figure, other }) {
  return median(rounds.map((results) => results[job].full[figure] / results[job][other][figure]));
}

/** job -> figure -> server -> median over the rounds. */
export function medians(rounds) {
  const table = {};
  for (const [job, servers] of Object.entries(rounds[0])) {
    table[job] = {};
    for (const [server, figures] of Object.entries(servers))
      for (const figure of Object.keys(figures).filter((name) => name in UNITS)) {
        table[job][figure] ??= {};
        table[job][figure][server] = median(rounds.map((results) => results[job][server][figure]));
      }
  }
  return table;
}

const number = (value) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** Markdown, so that it can go into the documentation as it is. */
export function printTable(table, rounds, servers) {
  const others = servers.includes('full') ? servers.filter((name) => name !== 'full') : [];
  const columns = ['', 'figure', ...servers, ...others.map((name) => `full : ${name}`)];
  console.log(`| ${columns.join(' | ')} |`);
  console.log(`|${columns.map((_, index) => (index < 2 ? '---' : '--:')).join('|')}|`);
  for (const [job, figures] of Object.entries(table))
    for (const [figure, values] of Object.entries(figures)) {
      const ratios = others.map((other) => ratioOf(rounds, { job, figure, other }).toFixed(2));
      const cells = [TITLES[job], UNITS[figure], ...servers.map((name) => number(values[name])), ...ratios];
      console.log(`| ${cells.join(' | ')} |`);
    }
  console.log();
}

/** Where the CPU of a call goes, by thread, and how often garbage was collected; what is below a microsecond is left out. */
export function printThreads(rounds, servers) {
  console.log('| | server | thread | CPU, µs/call |');
  console.log('|---|---|---|--:|');
  for (const job of Object.keys(rounds[0]))
    for (const server of servers) {
      const figures = rounds.map((results) => results[job][server]).filter(({ threadsUs }) => threadsUs);
      const names = new Set(figures.flatMap(({ threadsUs }) => Object.keys(threadsUs)));
      for (const name of names) {
        const us = median(figures.map(({ threadsUs }) => threadsUs[name] ?? 0));
        if (us >= 1) console.log(`| ${TITLES[job]} | ${server} | ${name} | ${number(us)} |`);
      }
    }
  console.log();
  if (!servers.includes('full')) return;
  console.log('| full | calls | full collections | scavenges |');
  console.log('|---|--:|--:|--:|');
  for (const job of Object.keys(rounds[0])) {
    const of = (figure) => median(rounds.map((results) => results[job].full[figure] ?? 0));
    const cells = [of('calls'), of('fullCollections'), of('scavenges')];
    if (of('calls') > 0) console.log(`| ${TITLES[job]} | ${cells.join(' | ')} |`);
  }
  console.log();
}
