// What each command says of itself.
import { EXIT } from '../../dist/cli/context.js';
import { buildProgram } from '../../dist/cli/program.js';
import { code, parts, table } from './markdown.mjs';

const WIDTH = 110;

/** Commands are only asked for their help, so nothing of this is ever called. */
const context = {
  env: {},
  cwd: '/',
  home: '/',
  out: () => undefined,
  err: () => undefined,
  signal: new AbortController().signal,
  startDaemon: () => Promise.reject(new Error('not here')),
};

const MEANING = {
  ok: 'done',
  failure:
    'the command failed; the reason is on standard error, after the code of the error ([errors.md](errors.md))',
  usage: 'the command line is wrong: no such command, function or option',
  config: 'the configuration cannot be used; every problem is on standard error with its place',
};

function sections(command, path) {
  command.configureHelp({ helpWidth: WIDTH });
  command.configureOutput({ getOutHelpWidth: () => WIDTH, getErrHelpWidth: () => WIDTH });
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  const own = parts(`## ${path}`, `\`\`\`\n${text.trim()}\n\`\`\``);
  return [own, ...command.commands.flatMap((child) => sections(child, `${path} ${child.name()}`))];
}

export function page() {
  const program = buildProgram(context);
  return parts(
    '# Command line',
    'Results go to standard output, everything else to standard error. No command prints a secret.',
    table(
      ['exit code', 'meaning'],
      Object.entries(EXIT).map(([name, number]) => [code(String(number)), MEANING[name] ?? name]),
    ),
    ...sections(program, 'splenium'),
  );
}
