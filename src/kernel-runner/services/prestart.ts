import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { Complain } from '../complaint.js';
import { isTexts } from './definition.js';
import type { PrestartAction } from './definition.js';
import { formatBraces, ServiceError } from './template.js';
import type { TemplateValue, TemplateVariables } from './template.js';

export interface PrestartParts {
  readonly work: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly complain: Complain;
}

const MAX_OUTPUT_BYTES = 1 << 20;

/** Performs one action (spec/kernel-runner.md 4.8); what it returns is stored under the action's `ref`. */
export async function performAction(
  { action, args }: PrestartAction,
  variables: TemplateVariables,
  { work, environment, complain }: PrestartParts,
): Promise<TemplateValue | undefined> {
  const text = (name: string, fallback?: string): string => {
    const value = args[name] ?? fallback;
    if (typeof value !== 'string') throw new ServiceError(`TypeError("${action}: '${name}' is a text")`);
    return formatBraces(value, variables);
  };
  const texts = (name: string): string[] => {
    const value = args[name];
    if (!isTexts(value)) throw new ServiceError(`TypeError("${action}: '${name}' is a list of texts")`);
    return value.map((item) => formatBraces(item, variables));
  };
  const path = (name: string): string => {
    const given = text(name);
    return isAbsolute(given) ? given : join(work, given);
  };
  const mode = (fallback: string): number => parseInt(text('mode', fallback), 8);
  switch (action) {
    case 'write_file': {
      const body = texts('body').map((line) => `${line}\n`);
      const flag = args['append'] === true ? 'a' : 'w';
      await writeFile(path('filename'), body.join(''), { mode: mode('644'), flag });
      return undefined;
    }
    case 'write_tempfile': {
      const file = join(mkdtempSync(join(tmpdir(), 'service-')), 'script.py');
      await writeFile(file, texts('body').join(''), { mode: mode('644') });
      return file;
    }
    case 'run_command': {
      const [command = '', ...rest] = texts('command');
      return new Promise((resolve) => {
        execFile(
          command,
          rest,
          { cwd: work, env: environment, maxBuffer: MAX_OUTPUT_BYTES },
          (_, out, err) => {
            if (args['echo'] === true) complain('output of a prestart command', { out, err });
            resolve({ out, err });
          },
        );
      });
    }
    case 'mkdir':
      await mkdir(path('path'), { recursive: true });
      return undefined;
    case 'log':
      complain(text('message'));
      return undefined;
    default:
      throw new ServiceError(`InvalidServiceDefinition('unknown prestart action: ${action}')`);
  }
}
