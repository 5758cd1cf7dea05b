import { ModelDefinitionInvalidError } from '../errors.js';
import type { Model } from './definition.js';

/** Variable -> the option it once became inside the images, in the order in which they are written. */
const OPTIONS: readonly (readonly [variable: string, option: string])[] = [
  ['VLLM_QUANTIZATION', '--quantization'],
  ['VLLM_TP_SIZE', '--tensor-parallel-size'],
  ['VLLM_PP_SIZE', '--pipeline-parallel-size'],
  ['SGLANG_QUANTIZATION', '--quantization'],
  ['SGLANG_TP_SIZE', '--tensor-parallel-size'],
  ['SGLANG_PP_SIZE', '--pipeline-parallel-size'],
];
const FURTHER_ARGUMENTS = ['VLLM_EXTRA_ARGS', 'SGLANG_EXTRA_ARGS'] as const;

/**
 * The models as 26.x starts them: without a command of its own a model has the image's, and variables of the servers
 * become options behind it (spec/kernel-lifecycle.md 2.19). Pure.
 * @throws ModelDefinitionInvalidError for a variable with quotes that do not close.
 */
export function withCommands(
  models: readonly Model[],
  facts: { readonly imageCommand: readonly string[]; readonly environ: Readonly<Record<string, string>> },
): readonly Model[] {
  const options = serverOptions(facts.environ);
  return models.map((model) => {
    if (!model.service) return model;
    const { start_command: own } = model.service;
    const command = joinWords(own ?? facts.imageCommand);
    const start_command = command === '' ? null : [command, ...options.map(quoted)].join(' ');
    return { ...model, service: { ...model.service, start_command } };
  });
}

function serverOptions(environ: Readonly<Record<string, string>>): readonly string[] {
  const options = OPTIONS.flatMap(([variable, option]) => {
    const value = environ[variable] ?? '';
    return value === '' ? [] : [option, value];
  });
  return [
    ...options,
    ...FURTHER_ARGUMENTS.flatMap((variable) => splitWords(environ[variable] ?? '', variable)),
  ];
}

const joinWords = (command: string | readonly string[]): string =>
  typeof command === 'string' ? command : command.map(quoted).join(' ');

/** One word for a POSIX shell. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;

/** Words as a POSIX shell sees them, without any expansion. */
function splitWords(text: string, variable: string): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  const piece = /\s+|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s'"\\]+)/y;
  while (piece.lastIndex < text.length) {
    const match = piece.exec(text);
    if (!match)
      throw new ModelDefinitionInvalidError(
        `Malformed quoting in ${variable}: close what is quoted, or escape it`,
      );
    const [, single, double, escaped, plain] = match;
    const part = single ?? double?.replace(/\\([\\"$`])/g, '$1') ?? escaped ?? plain;
    if (part !== undefined) word = (word ?? '') + part;
    else if (word !== null) {
      words.push(word);
      word = null;
    }
  }
  return word === null ? words : [...words, word];
}
