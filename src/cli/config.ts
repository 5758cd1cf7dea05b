import { resolve } from 'node:path';
import { Command } from 'commander';
import {
  ConfigError,
  diffConfig,
  formatProblems,
  type LoadedConfig,
  loadConfig,
  probeConfig,
  sampleConfig,
  showConfig,
} from '../config/index.js';
import { CommandFailure, EXIT, type CliContext } from './context.js';

interface FileOption {
  readonly config?: string;
}

const CONFIG_OPTION = ['-c, --config <file>', 'configuration file; default: searched for'] as const;

/** `splenium config …`: check, show, compare and write configuration files. */
export function configCommand(context: CliContext): Command {
  const load = (path: string | undefined): Promise<LoadedConfig> =>
    loadConfig({
      ...(path === undefined ? {} : { path: resolve(context.cwd, path) }),
      env: context.env,
      cwd: context.cwd,
      home: context.home,
    });
  const config = new Command('config').description('check, show and compare configuration files');

  config
    .command('check')
    .description('check a file and tell everything that is wrong with it at once')
    .option(...CONFIG_OPTION)
    .option('--live', 'also look for what it names: stores, engine, ports, directories, key files', false)
    .action(async (options: FileOption & { readonly live: boolean }) => {
      const loaded = await load(options.config);
      if (loaded.warnings.length > 0) context.err(formatProblems(loaded.warnings));
      const problems = context.checkDevices?.(loaded.config) ?? [];
      if (problems.length > 0) throw new ConfigError(problems);
      const findings = options.live ? await probeConfig(loaded.config, { env: context.env }) : [];
      for (const { ok, check, target, message } of findings)
        context.out(`${ok ? 'ok    ' : 'FAILED'} ${check} ${target}: ${message}`);
      const failed = findings.filter(({ ok }) => !ok).length;
      if (failed > 0)
        throw new CommandFailure(`${String(failed)} of the things it names are not usable`, EXIT.config);
      context.out(`${loaded.config.file ?? ''}: ok, ${String(loaded.config.agents.length)} agent(s)`);
    });

  config
    .command('show')
    .description('print the effective configuration; secrets are hidden')
    .option(...CONFIG_OPTION)
    .option('--effective', 'with defaults, environment and overrides applied (always so)', true)
    .option('-a, --agent <id>', 'as this agent sees it; default: the default agent')
    .option('--origin', 'tell where each value comes from', false)
    .option('--redacted', 'hide secrets (always so)', true)
    .option('--used', 'leave out keys without an effect here', false)
    .option('--json', 'as JSON', false)
    .action(
      async (
        options: FileOption & {
          readonly agent?: string;
          readonly origin: boolean;
          readonly used: boolean;
          readonly json: boolean;
        },
      ) => {
        const { config: loaded } = await load(options.config);
        context.out(
          showConfig(loaded, {
            ...(options.agent === undefined ? {} : { agent: options.agent }),
            origin: options.origin,
            usedOnly: options.used,
            json: options.json,
          }),
        );
      },
    );

  config
    .command('sample')
    .description('print a file with every key, its meaning and its default')
    .action(() => {
      context.out(sampleConfig());
    });

  config
    .command('diff')
    .argument('<before>', 'a configuration file')
    .argument('<after>', 'another one')
    .description('print the keys in which two files differ in effect')
    .action(async (before: string, after: string) => {
      const changes = diffConfig((await load(before)).config, (await load(after)).config);
      for (const { agentId, key, before: old, after: now } of changes)
        context.out(`${agentId === null ? '' : `${agentId} `}${key}: ${shown(old)} -> ${shown(now)}`);
    });
  return config;
}

const shown = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));
