// Makes and ends kernels through the daemon and with bare calls, in alternating rounds. See containers --help.
import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Daemon } from './kernels/daemon.mjs';
import { BareKernels, connectTo, makeImage } from './kernels/engine.mjs';
import { median, percentile } from './report.mjs';

const HELP = `containers [OPTIONS]: kernels of the docker backend on a private engine, in alternating rounds
  ours   through a daemon: its client over CURVE, creation with every step, destruction
  bare   the same engine calls with the same HostConfig and nothing else: create, start, inspect; SIGINT, wait, remove
Both wait for the same runner in the container, which is not part of the time to running.

  --rounds N         rounds that count, after one that does not (default 5)
  --kernels N        kernels a round and side (default 20)
  --concurrency LIST at once, by comma (default 1,4,8)
  --quick            two rounds of few kernels, to see that it works
  --json FILE        writes every figure
`;
const WAITING = 'waiting-for-runner';
const GOALS = { addedMs: 25, rate: 0.95 };
const SIDES = ['ours', 'bare'];
/** Of the daemon, and of the bare calls behind it. */
const PORT_RANGE = [20_000, 20_999];
const FIRST_BARE_PORT = 21_000;

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      kernels: { type: 'string' },
      concurrency: { type: 'string', default: '1,4,8' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  return {
    help: values.help,
    rounds: Number(values.rounds ?? (values.quick ? 2 : 5)),
    kernels: Number(values.kernels ?? (values.quick ? 6 : 20)),
    concurrency: values.concurrency.split(',').map(Number),
    json: values.json,
  };
}

/** Works on all items, so many at once. @returns the results and the seconds it took. */
async function all(items, concurrency, work) {
  const waiting = items.entries();
  const results = [];
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (const [index, item] of waiting) results[index] = await work(item);
    }),
  );
  return { results, seconds: (performance.now() - begin) / 1000 };
}

/** What the steps have taken in between, each per kernel that went through it. */
function stepsBetween(before, after) {
  return Object.fromEntries(
    Object.entries(after).flatMap(([step, { count, ms }]) => {
      const times = count - (before[step]?.count ?? 0);
      return times > 0 ? [[step, (ms - (before[step]?.ms ?? 0)) / times]] : [];
    }),
  );
}

async function ours(daemon, count, concurrency) {
  const before = await daemon.steps();
  const runningMs = [];
  const made = await all(Array.from({ length: count }), concurrency, async () => {
    // One after another the wait of each kernel is known; the question is not part of the time.
    const earlier = concurrency === 1 ? await daemon.steps() : null;
    const begin = performance.now();
    const kernel = await daemon.create();
    const ms = performance.now() - begin;
    if (earlier !== null) runningMs.push(ms - stepsBetween(earlier, await daemon.steps())[WAITING]);
    return { kernel, ms };
  });
  const created = await daemon.steps();
  const removed = await all(made.results, concurrency, ({ kernel }) => daemon.remove(kernel));
  const steps = stepsBetween(before, await daemon.steps());
  const waitMs = stepsBetween(before, created)[WAITING];
  return {
    runningMs: concurrency === 1 ? runningMs : made.results.map(({ ms }) => ms - waitMs),
    totalMs: made.results.map(({ ms }) => ms),
    rate: rateOf(made, concurrency),
    removalRate: count / removed.seconds,
    steps,
  };
}

async function bare(kernels, count, concurrency) {
  const prepared = Array.from({ length: count }, () => kernels.prepare());
  const made = await all(prepared, concurrency, async (one) => {
    const begin = performance.now();
    const kernel = await kernels.create(one);
    return { kernel, ms: performance.now() - begin };
  });
  const removed = await all(made.results, concurrency, ({ kernel }) => kernels.remove(kernel.container));
  const steps = {};
  for (const { kernel } of made.results)
    for (const [step, ms] of Object.entries(kernel.steps)) steps[step] = (steps[step] ?? 0) + ms / count;
  return {
    runningMs: made.results.map(({ kernel }) => kernel.runningMs),
    totalMs: made.results.map(({ ms }) => ms),
    rate: rateOf(made, concurrency),
    removalRate: count / removed.seconds,
    steps,
  };
}

/** Kernels a second; one after another without what the benchmark does in between. */
const rateOf = ({ results, seconds }, concurrency) =>
  concurrency === 1
    ? (1000 * results.length) / results.reduce((sum, { ms }) => sum + ms, 0)
    : results.length / seconds;

const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

function report(rounds, { concurrency }) {
  const of = (level, side, figure) => rounds.map((round) => round[level][side][figure]);
  console.log('| at once | figure | ours | bare | difference |\n|--:|---|--:|--:|--:|');
  const added = {};
  for (const level of concurrency) {
    for (const [title, at] of [
      ['p50', (values) => median(values)],
      ['p99', (values) => percentile(values, 0.99)],
    ]) {
      const [a, b] = SIDES.map((side) => at(of(level, side, 'runningMs').flat()));
      added[level] = { ...added[level], [title]: a - b };
      console.log(`| ${level} | time to running, ${title}, ms | ${ms(a)} | ${ms(b)} | ${ms(a - b)} |`);
    }
    for (const [title, figure] of [
      ['created, kernels/s', 'rate'],
      ['removed, kernels/s', 'removalRate'],
    ]) {
      const [a, b] = SIDES.map((side) => median(of(level, side, figure)));
      const ratio = median(rounds.map((round) => round[level].ours[figure] / round[level].bare[figure]));
      console.log(`| ${level} | ${title} | ${a.toFixed(2)} | ${b.toFixed(2)} | × ${ratio.toFixed(2)} |`);
    }
  }
  for (const side of SIDES) {
    console.log(`\nSteps of ${side}, ms a kernel (median of the rounds' means):\n`);
    console.log(`| step | ${concurrency.map((level) => `${level} at once`).join(' | ')} |`);
    console.log(`|---|${concurrency.map(() => '--:|').join('')}`);
    const names = new Set(
      rounds.flatMap((round) => concurrency.flatMap((level) => Object.keys(round[level][side].steps))),
    );
    for (const name of names) {
      const cells = concurrency.map((level) =>
        ms(median(rounds.map((round) => round[level][side].steps[name] ?? 0))),
      );
      console.log(`| ${name} | ${cells.join(' | ')} |`);
    }
  }
  console.log();
  const say = (met, text) => {
    console.log(`${met ? 'met   ' : 'MISSED'} ${text}`);
  };
  if (added[1])
    say(
      added[1].p99 <= GOALS.addedMs,
      `time added at p99, one at once, without the runner: ${ms(added[1].p99)} ms (at most ${GOALS.addedMs})`,
    );
  for (const level of concurrency) {
    const ratio = median(rounds.map((round) => round[level].ours.rate / round[level].bare.rate));
    say(ratio >= GOALS.rate, `rate of bare, ${level} at once: ${ratio.toFixed(2)} (at least ${GOALS.rate})`);
  }
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(HELP);
    return;
  }
  const directory = process.argv[2];
  const loadBefore = loadavg()[0];
  const socketPath = join(directory, 'engine', 'docker.sock');
  const docker = connectTo(socketPath);
  await makeImage(docker);
  const daemon = await Daemon.start({
    directory: join(directory, 'daemon'),
    socketPath,
    portRange: PORT_RANGE,
  });
  let kernels = null;
  try {
    const first = await daemon.create();
    kernels = new BareKernels({
      docker,
      directory: join(directory, 'bare'),
      template: await docker.getContainer(first.result.container_id).inspect(),
      scratch: join(daemon.scratchRoot, first.kernelId),
      firstPort: FIRST_BARE_PORT,
    });
    await daemon.remove(first);
    const rounds = [];
    for (let round = 0; round <= options.rounds; round += 1) {
      process.stderr.write(`round ${round} of ${options.rounds}${round === 0 ? ' (not counted)' : ''}\n`);
      const results = {};
      for (const [index, level] of options.concurrency.entries()) {
        results[level] = {};
        const order = (round + index) % 2 === 0 ? SIDES : SIDES.toReversed();
        for (const side of order)
          results[level][side] =
            side === 'ours'
              ? await ours(daemon, options.kernels, level)
              : await bare(kernels, options.kernels, level);
      }
      if (round > 0) rounds.push(results);
    }
    console.log(
      `${availableParallelism()} cores, node ${process.version}; load average ${loadBefore.toFixed(1)} before, ` +
        `${loadavg()[0].toFixed(1)} after; ${options.rounds} rounds of ${options.kernels} kernels\n`,
    );
    report(rounds, options);
    if (options.json !== undefined)
      writeFileSync(options.json, `${JSON.stringify({ options, rounds }, null, 1)}\n`);
  } finally {
    await daemon.stop();
    kernels?.clean();
  }
}

await main();
