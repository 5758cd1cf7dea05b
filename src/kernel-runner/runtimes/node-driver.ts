/**
 * The program inside a Node.js process (18 and later): the counterpart of the Python driver, see `interpreter.ts`.
 * User code without `await` runs inside one outer script with `breakOnSigint`, so that an interrupt ends endless loops,
 * too. Code with `await` is left alone by an interrupt: its run ends, what it started may go on.
 */
export const NODE_DRIVER = String.raw`
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const util = require('node:util');
const vm = require('node:vm');
const { createRequire } = require('node:module');

const CONTROL = 3;
const ENTRY = Symbol.for('splenium.run');
const control = new net.Socket({ fd: CONTROL, readable: true, writable: false });
let secret = '';
let marks = 0;
let runId = 0;
let stopWaiting;
const asked = new Map();

function send(message) {
  let data = Buffer.from(JSON.stringify(message) + '\n');
  while (data.length > 0) {
    try {
      data = data.subarray(fs.writeSync(CONTROL, data));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

async function mark() {
  const number = ++marks;
  const marker = '\x1e' + secret + String(number).padStart(8, '0') + '\x1e';
  const streams = [process.stdout, process.stderr];
  await Promise.all(streams.map((stream) => new Promise((done) => stream.write(marker, () => done()))));
  return number;
}

function report(error) {
  let text;
  try {
    text = error instanceof Error || util.types.isNativeError(error) ? error.stack : 'Uncaught ' + util.inspect(error);
    if (error?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') text = 'Interrupted';
    else text = String(text).split('\n').filter((line) => !line.includes(__filename) && !line.includes('node:vm')).join('\n').trimEnd();
  } catch {
    text = 'Uncaught error';
  }
  process.stderr.write(text + '\n');
}

function compile(code, filename) {
  try {
    return { script: new vm.Script(code, { filename }), waits: false };
  } catch (error) {
    if (!/\bawait\b/.test(code)) throw error;
    for (const body of ['return (' + code.replace(/[;\s]+$/, '') + '\n)', code]) {
      try {
        return { script: new vm.Script('(async () => {' + body + '\n})()', { filename }), waits: true };
      } catch {
        // Not an expression; the original error tells more than that of the wrapping.
      }
    }
    throw error;
  }
}

async function run(code) {
  try {
    const { script, waits } = compile(code, 'query-' + runId + '.js');
    const interrupted = new Promise((_, reject) => {
      stopWaiting = () => reject(Object.assign(new Error('Interrupted'), { code: 'ERR_SCRIPT_EXECUTION_INTERRUPTED' }));
    });
    interrupted.catch(() => undefined);
    globalThis[ENTRY] = () => {
      send({ type: 'started', id: runId });
      return script.runInThisContext();
    };
    const outer = new vm.Script('globalThis[Symbol.for("splenium.run")]()');
    // Not for code that waits: a signal that comes just when it gives way to waiting would stay in Node's watchdog and
    // end the next run.
    let value = outer.runInThisContext(waits ? {} : { breakOnSigint: true });
    if (waits) value = await Promise.race([value, interrupted]);
    if (value !== undefined) process.stdout.write(util.inspect(value));
    return 0;
  } catch (error) {
    report(error);
    return 1;
  } finally {
    stopWaiting = undefined;
  }
}

function complete(text) {
  const match = /((?:[\w$]+\.)*)([\w$]*)$/.exec(text);
  if (!match || match[0] === '') return [];
  try {
    let target = globalThis;
    const path = match[1].split('.').filter(Boolean);
    if (path.length > 0) target = new vm.Script(path.join('?.')).runInThisContext({ timeout: 1000 });
    const found = new Set();
    for (let at = target == null ? null : Object(target); at; at = Object.getPrototypeOf(at))
      for (const name of Object.getOwnPropertyNames(at)) if (name.startsWith(match[2])) found.add(match[1] + name);
    return [...found].sort().slice(0, 500);
  } catch {
    return [];
  }
}

async function hear(message) {
  if (message.type === 'hello') secret = message.secret;
  else if (message.type === 'run') {
    runId = message.id;
    const exitCode = await run(message.code);
    send({ type: 'done', id: message.id, mark: await mark(), exitCode });
  } else if (message.type === 'interrupt') {
    // The signal that comes with it ends code that keeps the event loop busy, this message ends waiting.
    if (message.id === runId) stopWaiting?.();
  } else if (message.type === 'input') {
    asked.get(message.id)?.(message.text);
    asked.delete(message.id);
  } else if (message.type === 'complete')
    send({ type: 'suggestions', id: message.id, suggestions: complete(message.text) });
}

async function ask(prompt, isPassword) {
  process.stdout.write(String(prompt));
  const number = await mark();
  return new Promise((resolve) => {
    asked.set(number, resolve);
    send({ type: 'ask', id: runId, mark: number, isPassword });
  });
}

globalThis.require = createRequire(process.cwd() + '/');
globalThis.input = (prompt = '') => ask(prompt, false);
globalThis.getpass = (prompt = 'Password: ') => ask(prompt, true);
// Does nothing, but without a listener the signal would end the process; see 'interrupt' above.
process.on('SIGINT', () => undefined);
process.on('uncaughtException', report);
process.on('unhandledRejection', report);
process.argv.length = 1;

let buffered = '';
control.setEncoding('utf8');
control.on('data', (text) => {
  const lines = (buffered + text).split('\n');
  buffered = lines.pop();
  for (const line of lines) void hear(JSON.parse(line));
});
control.on('end', () => process.exit(0));
`;
