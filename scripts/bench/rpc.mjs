// Runs the servers and the load generators in alternating rounds, and prints medians and ratios. See rpc --help.
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { generateKeyPair } from '../../dist/callosum/index.js';
import { Child } from './child.mjs';
import { GOALS, median, medians, percentile, printTable, printThreads, ratioOf } from './report.mjs';

const HELP = `rpc [OPTIONS]: the RPC path over loopback with CURVE, in alternating rounds against three servers:
  full   (a) Splenium: bounds, codec, binding, validation, routing, metrics; echo by ping
  bare   (b) a zeromq.js ROUTER that decodes and encodes the same messages with msgpackr
  python (c) Python's Callosum
Each is driven by the same Node generator and by Python's client. CPU is the server's, from /proc/PID/stat.

  --rounds N         rounds that count, after one that does not (default 5)
  --quick            two rounds of short jobs, to see that it works
  --json FILE        writes every figure of every round
  --profile DIR      writes a CPU profile of server a into DIR (node --cpu-prof)
  --node-flag FLAG   starts server a with this flag of node; may be repeated
  --threads          prints the CPU by thread, too, and the collections of garbage of server a (node --trace-gc)
  --only NAMES       only these jobs, by comma: connect,seq,w64,w256,k1,k64,m1,c10,c100,py-connect,py-seq,py-w64
  --servers NAMES    only these servers, by comma
`;

const place = (path) => fileURLToPath(new URL(path, import.meta.url));

const calls = (window, bodyBytes = 0, connections = 1) => ({ kind: 'calls', window, bodyBytes, connections });
/** Job by name: which generator, and what it is asked. */
const JOBS = {
  connect: ['node', { kind: 'connect' }],
  seq: ['node', calls(1)],
  w64: ['node', calls(64)],
  w256: ['node', calls(256)],
  k1: ['node', calls(64, 1024)],
  k64: ['node', calls(32, 64 * 1024)],
  m1: ['node', calls(4, 1024 * 1024)],
  c10: ['node', calls(100, 0, 10)],
  c100: ['node', calls(100, 0, 100)],
  'py-connect': ['python', { kind: 'connect' }],
  'py-seq': ['python', calls(1)],
  'py-w64': ['python', calls(64)],
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      'node-flag': { type: 'string', multiple: true, default: [] },
      threads: { type: 'boolean', default: false },
      only: { type: 'string' },
      servers: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const pick = (list, all) =>
    list === undefined ? all : all.filter((name) => list.split(',').includes(name));
  return {
    help: values.help,
    rounds: Number(values.rounds ?? (values.quick ? 2 : 5)),
    seconds: values.quick ? 0.2 : 1,
    json: values.json,
    profile: values.profile,
    threads: values.threads,
    nodeFlags: [...values['node-flag'], ...(values.threads ? ['--trace-gc'] : [])],
    jobs: pick(values.only, Object.keys(JOBS)),
    servers: pick(values.servers, ['full', 'bare', 'python']),
  };
}

function startServer(name, { profile, nodeFlags }, python) {
  const own = [...nodeFlags, ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`])];
  switch (name) {
    case 'full':
      return new Child(name, process.execPath, [...own, place('servers/full.mjs')]);
    case 'bare':
      return new Child(name, process.execPath, [place('servers/bare.mjs')]);
    default:
      return new Child(name, python, ['-u', place('servers/callosum_server.py')]);
  }
}

/** One job against one server: figures by name. */
async function measure(generator, server, job) {
  const before = { cpuMs: server.cpuMs(), threads: server.threadsUs(), collections: server.collections };
  const outcome = await generator.ask(job);
  const cpuMs = server.cpuMs() - before.cpuMs;
  const threads = server.threadsUs();
  const { collections } = server;
  if (outcome.connectMs) return { connectMs: median(outcome.connectMs) };
  return {
    cpuUs: (cpuMs * 1000) / outcome.calls,
    rate: outcome.timedCalls / outcome.seconds,
    calls: outcome.calls,
    threadsUs: Object.fromEntries(
      Object.entries(threads).map(([name, us]) => [name, (us - (before.threads[name] ?? 0)) / outcome.calls]),
    ),
    scavenges: collections.scavenges - before.collections.scavenges,
    fullCollections: collections.full - before.collections.full,
    ...(job.window === 1 && {
      p50Ms: percentile(outcome.latencyMs, 0.5),
      p99Ms: percentile(outcome.latencyMs, 0.99),
    }),
  };
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(HELP);
    return;
  }
  const python = process.env.SPLENIUM_CALLOSUM_PYTHON;
  if (!python) throw new Error('SPLENIUM_CALLOSUM_PYTHON is not set: start scripts/bench/rpc, which sets it');
  const [serverKeys, clientKeys] = [generateKeyPair(), generateKeyPair()];
  const curve = { serverPublicKey: serverKeys.publicKey, ...clientKeys };
  const generators = {
    node: new Child('node generator', process.execPath, [place('load/node.mjs')]),
    python: new Child('Python generator', python, ['-u', place('load/callosum_client.py')]),
  };
  const servers = {};
  try {
    const targets = [];
    for (const name of options.servers) {
      servers[name] = startServer(name, options, python);
      const keys = { secretKey: serverKeys.secretKey, clientPublicKey: clientKeys.publicKey };
      targets.push({ name, server: servers[name], address: (await servers[name].ask(keys)).address });
    }
    /** Of each round: job -> server -> figures. */
    const rounds = [];
    for (let round = 0; round <= options.rounds; round++) {
      process.stderr.write(`round ${round} of ${options.rounds}${round === 0 ? ' (not counted)' : ''}\n`);
      const results = {};
      for (const job of options.jobs) {
        const [generator, question] = JOBS[job];
        results[job] = {};
        // Each round begins with another server, and the order turns from job to job.
        const order = targets.map((_, index) => targets[(index + round) % targets.length]);
        if (round % 2 === 1) order.reverse();
        for (const { name, server, address } of order)
          results[job][name] = await measure(generators[generator], server, {
            ...question,
            seconds: options.seconds,
            address,
            curve,
          });
      }
      if (round > 0) rounds.push(results);
    }
    printTable(medians(rounds), rounds, options.servers);
    if (options.threads) printThreads(rounds, options.servers);
    const complete = options.servers.length === 3;
    for (const goal of complete ? GOALS.filter(({ job }) => options.jobs.includes(job)) : []) {
      const ratio = ratioOf(rounds, goal);
      const met = goal.atMost === undefined ? ratio >= goal.atLeast : ratio <= goal.atMost;
      const wanted = goal.atMost === undefined ? `at least ${goal.atLeast}` : `at most ${goal.atMost}`;
      console.log(`${met ? 'met   ' : 'MISSED'} ${goal.what}: ${ratio.toFixed(2)} (${wanted})`);
    }
    if (options.json !== undefined) {
      const about = { node: process.version, processors: availableParallelism(), flags: options.nodeFlags };
      writeFileSync(options.json, `${JSON.stringify({ about, rounds }, null, 1)}\n`);
    }
    for (const child of [...Object.values(servers), ...Object.values(generators)]) await child.end();
  } finally {
    for (const child of [...Object.values(servers), ...Object.values(generators)]) child.kill();
  }
}

await main();
