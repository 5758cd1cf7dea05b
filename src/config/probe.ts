import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { hasCode, messageOf } from '../core/errors.js';
import { configuredDirectories } from './directories.js';
import { type HostPort, formatHostPort } from './host-port.js';
import type { Environment } from './effective.js';
import type { DaemonConfig } from './types.js';

/** What one look at the machine found. */
export interface ProbeFinding {
  readonly check: 'etcd' | 'redis' | 'docker' | 'port' | 'directory' | 'key-file';
  /** Address or path that was looked at. */
  readonly target: string;
  readonly ok: boolean;
  readonly message: string;
}

export interface ProbeOptions {
  /** For one connection; default 2000. */
  readonly timeoutMs?: number;
  readonly env?: Environment;
}

/**
 * Looks at what the configuration refers to, without changing anything: are etcd, Redis and Docker there, are the
 * ports free, the directories writable, the key files in place and closed to others? Never throws for a finding.
 */
export async function probeConfig(
  config: DaemonConfig,
  options: ProbeOptions = {},
): Promise<readonly ProbeFinding[]> {
  const timeoutMs = options.timeoutMs ?? 2000;
  const redis =
    config.redis.sentinels.length > 0 ? config.redis.sentinels : config.redis.addr ? [config.redis.addr] : [];
  const findings = await Promise.all([
    ...(config.store === 'etcd' ? config.etcd.addrs.map((addr) => probeTcp('etcd', addr, timeoutMs)) : []),
    ...(config.eventBus === 'redis' ? redis.map((addr) => probeTcp('redis', addr, timeoutMs)) : []),
    ...(config.backend === 'docker' ? [probeDocker(options.env ?? {}, timeoutMs)] : []),
    probePort('agent.rpc-listen-addr', config.rpc.listen),
    ...(config.http.listen ? [probePort('http', config.http.listen)] : []),
    ...(config.backend === 'docker' ? probeContainerPorts(config) : []),
    ...config.agents.map((agent) => probeRange(agent.portRange.first, agent.portRange.last, agent.bindHost)),
    ...configuredDirectories(config).map(({ key, path }) => probeDirectory(key, path)),
    ...probeKeys(config),
  ]);
  if (config.eventBus === 'redis' && redis.length === 0)
    findings.push({
      check: 'redis',
      target: 'config/redis',
      ok: true,
      message: 'its address is asked of etcd at the start; not probed',
    });
  return findings;
}

async function probeTcp(
  check: ProbeFinding['check'],
  addr: HostPort,
  timeoutMs: number,
): Promise<ProbeFinding> {
  const target = formatHostPort(addr);
  const failure = await connectOnce(addr, timeoutMs);
  return { check, target, ok: failure === null, message: failure ?? 'accepts connections' };
}

/** Null when the connection stands; else why not. */
function connectOnce({ host, port }: HostPort, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (failure: string | null): void => {
      socket.destroy();
      resolve(failure);
    };
    socket.setTimeout(timeoutMs, () => {
      finish(`no answer within ${String(timeoutMs)} ms`);
    });
    socket.once('connect', () => {
      finish(null);
    });
    socket.once('error', (error) => {
      finish(messageOf(error));
    });
  });
}

function probeDocker(env: Environment, timeoutMs: number): Promise<ProbeFinding> {
  const target = env['DOCKER_HOST'] || 'unix:///var/run/docker.sock';
  const url = target.startsWith('unix://') ? null : new URL(target.replace(/^tcp:/, 'http:'));
  const where = url ? { host: url.hostname, port: url.port || 2375 } : { socketPath: target.slice(7) };
  return new Promise((resolve) => {
    const answer = (ok: boolean, message: string): void => {
      resolve({ check: 'docker', target, ok, message });
    };
    const ping = request({ ...where, path: '/_ping', timeout: timeoutMs }, (response) => {
      response.resume();
      answer(response.statusCode === 200, `the engine answers with ${String(response.statusCode)}`);
    });
    ping.once('timeout', () => ping.destroy(new Error(`no answer within ${String(timeoutMs)} ms`)));
    ping.once('error', (error) => {
      answer(false, messageOf(error));
    });
    ping.end();
  });
}

/** What only the docker backend listens on. */
function probeContainerPorts({ metadataServer, agents }: DaemonConfig): Promise<ProbeFinding>[] {
  const { bindHost, port } = metadataServer;
  return [
    probePort('agent.metadata-server-port', { host: bindHost, port }),
    ...agents.map(({ agentSockPort }) =>
      probePort('agent.agent-sock-port', { host: '127.0.0.1', port: agentSockPort }),
    ),
  ];
}

async function probePort(what: string, addr: HostPort): Promise<ProbeFinding> {
  const failure = await bindOnce(addr);
  return {
    check: 'port',
    target: formatHostPort(addr),
    ok: failure === null,
    message: failure === null ? `free for ${what}` : `${failure}; wanted for ${what}; is the daemon running?`,
  };
}

/** Null when the port can be listened on; else why not. */
function bindOnce({ host, port }: HostPort): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => {
      resolve(hasCode(error, 'EADDRINUSE') ? 'in use' : messageOf(error));
    });
    server.listen({ port, exclusive: true, ...(host === '' ? {} : { host }) }, () => {
      server.close(() => {
        resolve(null);
      });
    });
  });
}

async function probeRange(first: number, last: number, host: string): Promise<ProbeFinding> {
  const busy: number[] = [];
  for (let port = first; port <= last; port++) if ((await bindOnce({ host, port })) !== null) busy.push(port);
  const shown = busy.slice(0, 10).join(', ');
  return {
    check: 'port',
    target: `${String(first)}-${String(last)}`,
    ok: busy.length === 0,
    message:
      busy.length === 0
        ? 'free for kernels'
        : `${String(busy.length)} of ${String(last - first + 1)} not free: ${shown}${busy.length > 10 ? ', ...' : ''}`,
  };
}

/** A directory that is missing is fine where it can be made. */
async function probeDirectory(key: string, path: string): Promise<ProbeFinding> {
  const answer = (ok: boolean, message: string): ProbeFinding => ({
    check: 'directory',
    target: path,
    ok,
    message: `${message} (${key})`,
  });
  for (let place = path; ; place = dirname(place)) {
    const found = await stat(place).catch(() => null);
    if (!found) {
      if (place === dirname(place)) return answer(false, 'cannot be reached');
      continue;
    }
    if (!found.isDirectory()) return answer(false, `${place} is not a directory`);
    try {
      await access(place, constants.W_OK | constants.X_OK);
    } catch (error) {
      return answer(false, `not writable: ${messageOf(error)}`);
    }
    return answer(true, place === path ? 'writable' : `missing; can be made in ${place}`);
  }
}

function probeKeys({ rpc, etcd }: DaemonConfig): Promise<ProbeFinding>[] {
  return [
    ...(etcd.tls ? [probeKeyFile(etcd.tls.caFile, false)] : []),
    ...(etcd.tls?.client
      ? [probeKeyFile(etcd.tls.client.certFile, false), probeKeyFile(etcd.tls.client.keyFile, true)]
      : []),
    ...(rpc.agentKeypairFile === null ? [] : [probeKeyFile(rpc.agentKeypairFile, true)]),
    ...(rpc.managerPublicKeyFile === null ? [] : [probeKeyFile(rpc.managerPublicKeyFile, false)]),
    ...(rpc.acceptedManagerKeysDir === null
      ? []
      : [probeKeyDirectory(rpc.acceptedManagerKeysDir, rpc.managerPublicKeyFile === null)]),
  ];
}

async function probeKeyFile(path: string, secret: boolean): Promise<ProbeFinding> {
  const answer = (ok: boolean, message: string): ProbeFinding => ({
    check: 'key-file',
    target: path,
    ok,
    message,
  });
  try {
    const found = await stat(path);
    if (!found.isFile()) return answer(false, 'not a regular file');
    await access(path, constants.R_OK);
    const mode = found.mode & 0o777;
    if (secret && (mode & 0o077) !== 0)
      return answer(false, `others have access (mode 0${mode.toString(8)}); set it to 0600`);
    return answer(true, secret ? 'readable by its owner alone' : 'readable');
  } catch (error) {
    return answer(false, messageOf(error));
  }
}

async function probeKeyDirectory(path: string, needed: boolean): Promise<ProbeFinding> {
  const answer = (ok: boolean, message: string): ProbeFinding => ({
    check: 'key-file',
    target: path,
    ok,
    message,
  });
  try {
    const keys = (await readdir(path)).filter((name) => name.endsWith('.key'));
    if (keys.length === 0) return answer(!needed, 'holds no .key file');
    return answer(true, `${String(keys.length)} key file(s)`);
  } catch (error) {
    return answer(false, messageOf(error));
  }
}
