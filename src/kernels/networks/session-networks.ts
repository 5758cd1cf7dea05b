import { z } from 'zod';
import type { PlannedNetwork } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { InvariantError, messageOf, ValueError } from '../../core/errors.js';
import type { AgentId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';
import type { KernelCreationRequest, ServicePort } from '../requests.js';
import { BUILT_IN_NETWORKS, namedNetwork } from './built-in.js';
import type { ExposedPorts, MemberPort, NetworkMember, NetworkPlugin } from './network-plugin.js';

/** A plugin must not hold up a kernel for ever. */
const CALL_MS = 60_000;

const planned = z.discriminatedUnion('mode', [
  z.object({
    mode: z.literal('named'),
    name: z.string().min(1),
    aliases: z.array(z.string()),
    spansMachines: z.exactOptional(z.boolean()),
  }),
  z.object({ mode: z.literal('host'), hosts: z.record(z.string(), z.string()) }),
  z.object({
    mode: z.literal('options'),
    containerOptions: z.record(z.string(), z.unknown()),
    publishesPorts: z.boolean(),
  }),
]);
const port = z.int().min(1).max(65535);
const exposed = z
  .object({
    host: z.exactOptional(z.string().min(1)),
    services: z.exactOptional(z.record(z.string(), z.record(z.string(), port))),
  })
  .nullish()
  .transform((ports) => ports ?? null);

/** The networks that kernels of one process can be put on, by the mode that managers name. */
export class SessionNetworks {
  readonly #plugins: ReadonlyMap<string, NetworkPlugin>;

  /** Default: those that this program brings. Of two with one name the later one counts. */
  constructor(plugins: readonly NetworkPlugin[] = BUILT_IN_NETWORKS.map(({ plugin }) => plugin)) {
    this.#plugins = new Map(plugins.map((plugin) => [plugin.name, plugin]));
  }

  /**
   * The network of a kernel; null: its session has none, and the kernel gets the agent's.
   * @throws ValueError for a mode that nobody here knows, what the plugin throws, TimeoutError, CancelledError.
   */
  async join(
    agentId: AgentId,
    request: KernelCreationRequest,
    options: { readonly isPreview: boolean; readonly signal?: AbortSignal },
  ): Promise<PlannedNetwork | null> {
    const { mode } = request.cluster.networkConfig;
    if (mode === undefined || mode === null || mode === '') return null;
    const member = memberOf(agentId, request);
    if (mode === 'bridge') return namedNetwork(member);
    const plugin = typeof mode === 'string' ? this.#plugins.get(mode) : undefined;
    if (!plugin)
      throw new ValueError(
        `network_config: there is no network plugin ${JSON.stringify(mode)} here; modes are ` +
          ['bridge', ...this.#plugins.keys()].join(', '),
      );
    const answer: unknown = await limited(plugin, 'join', options.signal, () =>
      plugin.join(member, { isPreview: options.isPreview }),
    );
    return checked(plugin, 'join', planned, answer);
  }

  /** Before the container is made. @throws as `join` */
  async prepare(
    agentId: AgentId,
    request: KernelCreationRequest,
    ports: readonly MemberPort[],
    signal: AbortSignal,
  ): Promise<void> {
    const plugin = this.#of(request);
    if (plugin?.prepare)
      await limited(plugin, 'prepare', signal, async () =>
        plugin.prepare?.(memberOf(agentId, request), ports),
      );
  }

  /** After the start. Null: everything is where it was planned. @throws as `join` */
  async expose(
    agentId: AgentId,
    request: KernelCreationRequest,
    ports: readonly MemberPort[],
    signal: AbortSignal,
  ): Promise<ExposedPorts | null> {
    const plugin = this.#of(request);
    if (!plugin?.expose) return null;
    const answer: unknown = await limited(plugin, 'expose', signal, async () =>
      plugin.expose?.(memberOf(agentId, request), ports),
    );
    return checked(plugin, 'expose', exposed, answer);
  }

  /** Of a kernel without a container. A plugin that is no longer here, or that fails, holds up nothing. */
  async leave(agentId: AgentId, request: KernelCreationRequest, logger: Logger): Promise<void> {
    const plugin = this.#of(request);
    if (!plugin?.leave) return;
    try {
      await limited(plugin, 'leave', undefined, async () => plugin.leave?.(memberOf(agentId, request)));
    } catch (error) {
      logger.error('a network plugin could not let a kernel go', {
        plugin: plugin.name,
        error: messageOf(error),
      });
    }
  }

  /** What fails is logged. */
  async close(logger: Logger): Promise<void> {
    for (const plugin of this.#plugins.values())
      await limited(plugin, 'close', undefined, async () => plugin.close?.()).catch((error: unknown) => {
        logger.warn('a network plugin did not close', { plugin: plugin.name, error: messageOf(error) });
      });
  }

  #of({ cluster }: KernelCreationRequest): NetworkPlugin | undefined {
    const { mode } = cluster.networkConfig;
    return typeof mode === 'string' ? this.#plugins.get(mode) : undefined;
  }
}

/** Ports as clients find them. Pure. */
export function withExposedPorts(
  services: readonly ServicePort[],
  ports: ExposedPorts | null,
): readonly ServicePort[] {
  const moved = ports?.services;
  if (!moved) return services;
  return services.map((service) => {
    const own = moved[service.name];
    if (!own) return service;
    const hostPorts = service.containerPorts.map(
      (inside, index) => own[inside] ?? service.hostPorts[index] ?? null,
    );
    return { ...service, hostPorts };
  });
}

function memberOf(agentId: AgentId, request: KernelCreationRequest): NetworkMember {
  const { cluster, config } = request;
  return {
    agentId,
    kernelId: request.kernelId,
    sessionId: request.sessionId,
    clusterRole: config.clusterRole,
    clusterHostname: config.clusterHostname,
    networkConfig: cluster.networkConfig,
    sshPorts: cluster.clusterSshPortMapping ?? {},
  };
}

function limited<T>(
  plugin: NetworkPlugin,
  what: string,
  signal: AbortSignal | undefined,
  call: () => Promise<T>,
): Promise<T> {
  return within(call(), { timeoutMs: CALL_MS, signal, what: `${what} of network plugin ${plugin.name}` });
}

/** What a package answers is not to be trusted to have the right shape. @throws InvariantError */
function checked<T>(plugin: NetworkPlugin, what: string, schema: z.ZodType<T>, answer: unknown): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new InvariantError(
    `network plugin ${plugin.name}: ${what}: ${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? ''}`,
  );
}
