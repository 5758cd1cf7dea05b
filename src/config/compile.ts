import { join, resolve } from 'node:path';
import { parseAgentId } from '../core/ids.js';
import { messageOf } from '../core/errors.js';
import type { EffectiveValues } from './effective.js';
import type { HostPort, PortRange } from './formats.js';
import type { LoadOptions } from './load.js';
import { splitPortRange } from './port-ranges.js';
import type { ConfigProblem, ConfigWarning } from './problems.js';
import type { Source } from './sections.js';
import type { RawTable } from './toml-document.js';
import type { AgentConfig, DaemonConfig } from './types.js';

interface CompileInput {
  readonly file: string;
  readonly shared: EffectiveValues;
  /** One an `[[agents]]` entry; empty in single-agent mode. */
  readonly agents: readonly EffectiveValues[];
  readonly raw: RawTable;
  readonly source: Source;
  readonly options: LoadOptions;
}

export interface CompiledConfig {
  readonly config: DaemonConfig | null;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
}

/** Checks what no single key shows, and turns parsed values into the shape the program uses. */
export function compileConfig(input: CompileInput): CompiledConfig {
  const { shared } = input;
  const invalid = [shared, ...input.agents].some(({ problems }) => problems.length > 0);
  const problems: ConfigProblem[] = [...agentCountProblems(input)];
  if (invalid) return { config: null, problems, warnings: [] };

  const views = input.agents.length === 0 ? [shared] : input.agents;
  const compiled = views.map((values, index) => compileAgent(values, input, index));
  problems.push(
    ...compiled.flatMap((agent) => agent.problems),
    ...duplicateIds(compiled, input),
    ...plaintextProblem(input),
  );
  const ports = splitPortRange(
    compiled.map(({ agent }) => agent),
    (index) => location(input, index, 'container', 'port-range'),
  );
  problems.push(...ports.problems);

  const value = <T>(section: Parameters<EffectiveValues['get']>[0], key: string) =>
    shared.get(section, key) as T;
  const etcd = value<readonly HostPort[] | null>('etcd', 'addr');
  const config: DaemonConfig = {
    file: input.file,
    backend: value('agent', 'backend'),
    rpc: {
      listen: value('agent', 'rpc-listen-addr'),
      advertised: value('agent', 'advertised-rpc-addr'),
      agentKeypairFile: path(value('agent', 'rpc-auth-agent-keypair'), input),
      managerPublicKeyFile: path(value('agent', 'rpc-auth-manager-public-key'), input),
    },
    stateDir: path(value('splenium', 'state-dir'), input) ?? defaultStateDir(input.options),
    store: value<'file' | 'etcd' | null>('splenium', 'store') ?? (etcd === null ? 'file' : 'etcd'),
    eventBus: value<'local' | 'redis' | null>('splenium', 'event-bus') ?? (etcd === null ? 'local' : 'redis'),
    agentStartFailure: value('splenium', 'agent-start-failure'),
    debugEnabled: value('debug', 'enabled'),
    logLevel: value('logging', 'level'),
    pidFile: path(value('agent', 'pid-file'), input),
    abuseReportPath: value('agent', 'abuse-report-path'),
    reserved: { cpu: value('resource', 'reserved-cpu'), memBytes: value('resource', 'reserved-mem') },
    allocationMode: value('resource', 'allocation-mode'),
    agents: ports.agents,
    views: views.map((view) => ({
      agentId: view.get('agent', 'id') as string | null,
      entries: view.entries,
    })),
  };
  return { config: problems.length === 0 ? config : null, problems, warnings: ports.warnings };
}

function compileAgent(values: EffectiveValues, input: CompileInput, index: number) {
  const value = <T>(section: Parameters<EffectiveValues['get']>[0], key: string) =>
    values.get(section, key) as T;
  const problems: ConfigProblem[] = [];
  const id = value<string | null>('agent', 'id');
  if (id !== null)
    try {
      parseAgentId(id);
    } catch (error) {
      problems.push({ key: 'agent.id', message: messageOf(error), ...location(input, index, 'agent', 'id') });
    }
  const agent: AgentConfig = {
    id: id as AgentConfig['id'],
    scalingGroup: value('agent', 'scaling-group'),
    portRange: value<PortRange>('container', 'port-range'),
    bindHost: value('container', 'bind-host'),
    advertisedHost: value('container', 'advertised-host'),
    scratchRoot: path(value<string>('container', 'scratch-root'), input) ?? '',
    kernelUid: value('container', 'kernel-uid'),
    kernelGid: value('container', 'kernel-gid'),
    kernelCreationConcurrency: value('agent', 'kernel-creation-concurrency'),
    kernelLifecycles: {
      initPollingAttempts: value('kernel-lifecycles', 'init-polling-attempt'),
      initPollingTimeoutMs: value<number>('kernel-lifecycles', 'init-polling-timeout-sec') * 1000,
      initTimeoutMs: value<number>('kernel-lifecycles', 'init-timeout-sec') * 1000,
    },
  };
  return { agent, problems };
}

function agentCountProblems({ raw, file, source }: CompileInput): ConfigProblem[] {
  const entries = raw['agents'];
  if (entries === undefined) return [];
  if (!Array.isArray(entries))
    return [{ key: 'agents', message: 'expected an array of tables: [[agents]]', origin: file }];
  if (entries.length !== 1) return [];
  const position = source.positionOf(['agents', 0]);
  return [
    {
      key: 'agents',
      message:
        'agents should not be specified with only 1 agent configuration. Please use the default single agent mode if only 1 agent is needed.',
      origin: file,
      ...(position ? { position } : {}),
    },
  ];
}

function duplicateIds(compiled: readonly { agent: AgentConfig }[], input: CompileInput): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const explicit = (index: number): boolean => input.agents.length === 0 || ownId(input, index) !== undefined;
  const seen = new Map<string, number>();
  for (const [index, { agent }] of compiled.entries()) {
    const where = location(input, index, 'agent', 'id');
    if (!explicit(index)) {
      problems.push({
        key: `agents[${String(index)}].agent.id`,
        message: 'each of several agents needs an id of its own',
        ...where,
      });
      continue;
    }
    if (agent.id === null) continue;
    const earlier = seen.get(agent.id);
    if (earlier !== undefined)
      problems.push({
        key: `agents[${String(index)}].agent.id`,
        message: `Duplicate agent IDs found! "${agent.id}" is also the id of agents[${String(earlier)}]`,
        ...where,
      });
    seen.set(agent.id, index);
  }
  return problems;
}

function ownId({ raw }: CompileInput, index: number): unknown {
  const entries = raw['agents'] as readonly { agent?: { id?: unknown } }[];
  return entries[index]?.agent?.id;
}

/** Without keys anybody who reaches the port commands the node. */
function plaintextProblem({ shared, file, source }: CompileInput): ConfigProblem[] {
  const keypair = shared.get('agent', 'rpc-auth-agent-keypair');
  const managerKey = shared.get('agent', 'rpc-auth-manager-public-key');
  const listen = shared.get('agent', 'rpc-listen-addr') as HostPort;
  if (keypair !== null && managerKey === null) {
    const position = source.positionOf(['agent', 'rpc-auth-agent-keypair']);
    return [
      {
        key: 'agent.rpc-auth-manager-public-key',
        message: 'required with agent.rpc-auth-agent-keypair: the public key file of the manager',
        origin: file,
        ...(position ? { position } : {}),
      },
    ];
  }
  if (keypair !== null || isLoopback(listen.host) || shared.get('splenium', 'allow-plaintext-rpc') === true)
    return [];
  const position = source.positionOf(['agent', 'rpc-listen-addr']);
  return [
    {
      key: 'agent.rpc-auth-agent-keypair',
      message: `absent, so ${listen.host === '' ? 'every address' : listen.host} would be served without authentication`,
      origin: file,
      hint: 'give the key files, listen on 127.0.0.1, or set splenium.allow-plaintext-rpc = true',
      ...(position ? { position } : {}),
    },
  ];
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\./.test(host);

function location(input: CompileInput, index: number, section: string, key: string) {
  const position =
    input.source.positionOf(['agents', index, section, key]) ??
    input.source.positionOf(['agents', index]) ??
    input.source.positionOf([section, key]);
  return { origin: input.file, ...(position ? { position } : {}) };
}

/** Relative paths of the file count from the working directory, as in the original. */
function path(value: string | null, { options }: CompileInput): string | null {
  if (value === null) return null;
  return resolve(options.cwd, value.startsWith('~/') ? join(options.home, value.slice(2)) : value);
}

function defaultStateDir({ env, home }: LoadOptions): string {
  const base = env['XDG_STATE_HOME'];
  return join(base === undefined || base === '' ? join(home, '.local', 'state') : base, 'splenium');
}
