#!/usr/bin/env node
import { homedir } from 'node:os';
import type { CliContext } from './cli/context.js';
import { runCli } from './cli/program.js';
import { deviceProblems, runDaemon } from './daemon/run.js';

/** The only file with signal handlers and an exit code. */
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => {
    stopping.abort(new Error(`received ${signal}`));
  });

const context: CliContext = {
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  out: (line) => {
    process.stdout.write(`${line}\n`);
  },
  err: (line) => {
    process.stderr.write(`${line}\n`);
  },
  signal: stopping.signal,
  checkDevices: deviceProblems,
  startDaemon: (options) =>
    runDaemon({
      ...context,
      ...options,
      // Only of the daemon: any other command ends with its terminal.
      onReload: (listener) => {
        process.on('SIGHUP', listener);
      },
    }),
};

process.exitCode = await runCli(process.argv.slice(2), context);
// Sockets of a failed start may linger; what is to be said has been said.
if (process.exitCode !== 0) process.exit();
