// jest-stage.mjs PROJECT RESULT: one stage of scripts/test. Runs a jest project; when something failed, runs the failed files
// once more, one at a time, and says loudly what passed only then. Writes what scripts/test-closing.mjs needs to RESULT.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIMIT_MS = Number(process.env.SPLENIUM_STAGE_SECONDS ?? 900) * 1000;
/** How long jest may take to exit once its results are written. */
const EXIT_GRACE_MS = 30_000;
const POLL_MS = 500;

const [project, resultFile] = process.argv.slice(2);
if (project === undefined || resultFile === undefined)
  throw new Error('usage: jest-stage.mjs PROJECT RESULT');
const scratch = mkdtempSync(join(tmpdir(), 'splenium-jest-'));
const jest = fileURLToPath(new URL('../node_modules/jest/bin/jest.js', import.meta.url));
const say = (line) => process.stdout.write(`${line}\n`);

/** Processes that inherited the mark of a run and outlived it: kernels and daemons that a test left behind. */
function killStrays(mark) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark)) continue;
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      if (command === '') continue;
      say(`STRAY: a test left process ${pid} behind, killed: ${command.slice(0, 200)}`);
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Gone in the meantime, or not ours to read.
    }
  }
}

/** One jest run: its exit status, and its results if it got as far as writing them. */
async function runJest(name, args) {
  const output = join(scratch, `${name}.json`);
  const mark = `SPLENIUM_TEST_RUN=${String(process.pid)}-${name}`;
  const child = spawn(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      jest,
      ...['--selectProjects', project, '--passWithNoTests', '--ci', '--json', `--outputFile=${output}`],
      ...args,
    ],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
      env: { ...process.env, [mark.split('=')[0]]: mark.split('=')[1] },
    },
  );
  const killGroup = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Already gone.
    }
  };
  const interrupted = (signal) => {
    killGroup();
    killStrays(mark);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  const startedAt = performance.now();
  let writtenAt;
  const watch = setInterval(() => {
    const now = performance.now();
    if (existsSync(output)) writtenAt ??= now;
    if (writtenAt !== undefined && now - writtenAt > EXIT_GRACE_MS) {
      say(
        `LEAK: jest finished but did not exit within ${String(EXIT_GRACE_MS / 1000)} s: something is still open`,
      );
      killGroup();
    } else if (now - startedAt > LIMIT_MS) {
      say(`TIMEOUT: ${project} took longer than ${String(LIMIT_MS / 1000)} s; killed`);
      killGroup();
    }
  }, POLL_MS);
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  clearInterval(watch);
  process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  killStrays(mark);
  return { status, results: existsSync(output) ? JSON.parse(readFileSync(output, 'utf8')) : undefined };
}

/** Every file with its tests; a file that could not run counts as one failed test. */
function readFiles(results) {
  return new Map(
    (results?.testResults ?? []).map(({ name, status, message, assertionResults }) => {
      const tests = assertionResults.map((test) => ({
        name: test.fullName,
        status: test.status,
        message: test.failureMessages.join('\n'),
      }));
      if (status === 'failed' && !tests.some((test) => test.status === 'failed'))
        tests.push({ name: '(the whole file)', status: 'failed', message });
      return [name, tests];
    }),
  );
}

const isFailed = ({ status }) => status === 'failed';
const label = (file, test) => `${relative(process.cwd(), file)} › ${test.name}`;

const first = await runJest('first', []);
let files = readFiles(first.results);
const failedFiles = [...files].filter(([, tests]) => tests.some(isFailed)).map(([file]) => file);
// A run that was killed, or failed for a reason that no file shows, is repeated as a whole.
const unfinished = first.status !== 0 && (first.results === undefined || first.results.success === false);
let finished = !unfinished || failedFiles.length > 0;
const flaky = [];

if (failedFiles.length > 0 || unfinished) {
  say(
    `\n${project}: ${failedFiles.length > 0 ? `${String(failedFiles.length)} failed files` : 'all files'}, once more and one at a time`,
  );
  const second = await runJest('second', [
    '--runInBand',
    ...(failedFiles.length > 0 ? ['--runTestsByPath', ...failedFiles] : []),
  ]);
  const repeated = readFiles(second.results);
  finished = second.results !== undefined;
  if (failedFiles.length === 0 && finished && second.results.success)
    flaky.push(`${project} › (the whole stage)`);
  for (const [file, tests] of repeated)
    for (const before of (files.get(file) ?? []).filter(isFailed)) {
      const after = tests.find((test) => test.name === before.name);
      const passed = after === undefined ? !tests.some(isFailed) : after.status === 'passed';
      if (passed) flaky.push(label(file, before));
    }
  files = new Map([...files, ...repeated]);
}

const tests = [...files].flatMap(([file, all]) => all.map((test) => ({ ...test, label: label(file, test) })));
const failures = tests.filter(isFailed).map(({ label: name, message }) => ({ name, message }));
if (!finished) failures.push({ name: `${project} › (the whole stage)`, message: 'jest wrote no results' });
for (const name of flaky) say(`FLAKY: ${name} (passed only at the second try)`);
writeFileSync(
  resultFile,
  JSON.stringify({
    passed: tests.filter(({ status }) => status === 'passed').length,
    skipped: tests.filter(({ status }) => status !== 'passed' && status !== 'failed').length,
    failures,
    flaky,
  }),
);
rmSync(scratch, { recursive: true, force: true });
process.exitCode = failures.length > 0 ? 1 : 0;
