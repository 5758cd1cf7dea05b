// test-closing.mjs RESULT...: the end of scripts/test: what failed with its first words, what was flaky, and the closing line.
import { existsSync, readFileSync } from 'node:fs';

const MESSAGE_LINES = 25;
const COLOURS = /\u001b\[[0-9;]*m/g;

const results = process.argv.slice(2).map((file) =>
  existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : {
        passed: 0,
        skipped: 0,
        flaky: [],
        failures: [{ name: file, message: 'the stage ended without a result' }],
      },
);
const failures = results.flatMap((result) => result.failures);
for (const { name, message } of failures) {
  const lines = message
    .replace(COLOURS, '')
    .split('\n')
    .filter((line) => !line.includes('/node_modules/'))
    .slice(0, MESSAGE_LINES);
  console.log(`FAILED: ${name}\n${lines.map((line) => `    ${line}`).join('\n')}`);
}
for (const name of results.flatMap((result) => result.flaky)) console.log(`FLAKY: ${name}`);
const sum = (of) => String(results.reduce((total, result) => total + of(result), 0));
console.log(
  `${sum((r) => r.passed)} passed, ${String(failures.length)} failed, ${sum((r) => r.skipped)} skipped`,
);
