// Makes and ends kernels through the daemon and with bare calls, in alternating rounds. See containers --help.
import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CallCounter } from './kernels/calls.mjs';
import { Daemon } from './kernels/daemon.mjs';
import { BareKernels, connectTo, makeImage } from './kernels/engine.mjs';
import { median, percentile } from './report.mjs';

const HELP = `containers [OPTIONS]: kernels of the docker backend on a private engine
  ours   through a daemon: its client over CURVE, creation with every step, destruction
  bare   the same engine calls with the same HostConfig and nothing else: create, start, inspect; SIGINT, wait, remove
The sides take turns: each makes and removes a few kernels (twice as many as at once, one when it is one at once), then
the other does. Both wait for the same runner in the container, which is not part of the time to running.

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
const COUNTED_PORT_RANGE = [25_000, 25_999];

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
  const cpuMs = daemon.cpuMs();
  const made = await all(Array.from({ length: count }), concurrency, async () => {
    const begin = performance.now();
    const kernel = await daemon.create();
    return { kernel, ms: performance.now() - begin };
  });
  // The wait of each kernel where there is one; the mean of several at once.
  const waitMs = stepsBetween(before, await daemon.steps())[WAITING];
  const removed = await all(made.results, concurrency, ({ kernel }) => daemon.remove(kernel));
  return {
    runningMs: made.results.map(({ ms }) => ms - waitMs),
    seconds: made.seconds,
    removalSeconds: removed.seconds,
    steps: {
      ...stepsBetween(before, await daemon.steps()),
      'CPU of the daemon': (daemon.cpuMs() - cpuMs) / count,
    },
  };
}

async function bare(kernels, count, concurrency) {
  const prepared = Array.from({ length: count }, () => kernels.prepare());
  const made = await all(prepared, concurrency, (one) => kernels.create(one));
  const removed = await all(made.results, concurrency, (kernel) => kernels.remove(kernel));
  const steps = {};
  for (const kernel of made.results)
    for (const [step, ms] of Object.entries(kernel.steps)) steps[step] = (steps[step] ?? 0) + ms / count;
  return {
    runningMs: made.results.map(({ runningMs }) => runningMs),
    seconds: made.seconds,
    removalSeconds: removed.seconds,
    steps,
  };
}

/** Kernels of both sides in turns, the first of which changes with each. */
async function round({ daemon, kernels }, count, concurrency) {
  const turns = { ours: [], bare: [] };
  const size = concurrency === 1 ? 1 : Math.min(count, 2 * concurrency);
  for (let done = 0, turn = 0; done < count; done += size, turn += 1)
    for (const side of turn % 2 === 0 ? SIDES : SIDES.toReversed())
      turns[side].push(
        side === 'ours' ? await ours(daemon, size, concurrency) : await bare(kernels, size, concurrency),
      );
  return Object.fromEntries(SIDES.map((side) => [side, sumOf(turns[side], size)]));
}

function sumOf(turns, size) {
  const count = turns.length * size;
  const total = (figure) => turns.reduce((sum, turn) => sum + turn[figure], 0);
  const steps = {};
  for (const turn of turns)
    for (const [step, ms] of Object.entries(turn.steps)) steps[step] = (steps[step] ?? 0) + ms / turns.length;
  return {
    runningMs: turns.flatMap(({ runningMs }) => runningMs),
    rate: count / total('seconds'),
    removalRate: count / total('removalSeconds'),
    steps,
  };
}

const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

function report(rounds, calls, { concurrency }) {
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
  for (const side of SIDES) {
    const named = Object.entries(calls[side]).map(
      ([part, made]) =>
        `${part}: ${made.length} (${made.map(({ name, ms: took }) => `${name} ${ms(took)}`).join(', ')})`,
    );
    console.log(`\nCalls of ${side} to the engine for one kernel, with ms each; ${named.join('; ')}`);
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

/** What one life of a kernel asks of the engine, seen from a socket between. */
async function countCalls(directory, socketPath, kernels) {
  const between = join(directory, 'calls.sock');
  const counter = await CallCounter.start(between, socketPath);
  const daemon = await Daemon.start({
    directory: join(directory, 'counted'),
    socketPath: between,
    portRange: COUNTED_PORT_RANGE,
    agentId: 'i-counted',
  });
  try {
    const counted = {
      ours: { create: () => daemon.create(), remove: (kernel) => daemon.remove(kernel) },
      bare: kernels.over(connectTo(between)),
    };
    const calls = {};
    for (const [side, { create, remove }] of Object.entries(counted)) {
      // Not the first: a daemon looks around when it begins.
      await remove(await create());
      counter.take();
      const kernel = await create();
      calls[side] = { creation: counter.take() };
      await remove(kernel);
      calls[side].end = counter.take();
    }
    return calls;
  } finally {
    await daemon.stop();
    counter.close();
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
    for (let number = 0; number <= options.rounds; number += 1) {
      process.stderr.write(`round ${number} of ${options.rounds}${number === 0 ? ' (not counted)' : ''}\n`);
      const results = {};
      for (const level of options.concurrency)
        results[level] = await round({ daemon, kernels }, options.kernels, level);
      if (number > 0) rounds.push(results);
    }
    const loadAfter = loadavg()[0];
    const calls = await countCalls(directory, socketPath, kernels);
    console.log(
      `${availableParallelism()} cores, node ${process.version}; load average ${loadBefore.toFixed(1)} before, ` +
        `${loadAfter.toFixed(1)} after; ${options.rounds} rounds of ${options.kernels} kernels\n`,
    );
    report(rounds, calls, options);
    if (options.json !== undefined)
      writeFileSync(options.json, `${JSON.stringify({ options, calls, rounds }, null, 1)}\n`);
  } finally {
    await daemon.stop();
    kernels?.clean();
  }
}

await main();
