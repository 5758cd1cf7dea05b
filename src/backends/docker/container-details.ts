import { dirname } from 'node:path';
import type { KernelDetails } from '../backend.js';
import type { Container } from './engine-schemas.js';
import { CONFIG_HOME } from './runner-start.js';

/** Modes of an engine that name no network of a session. */
const NO_NETWORKS: ReadonlySet<string> = new Set(['', 'default', 'bridge', 'none']);

/** What the engine still knows of a kernel (spec/kernel-lifecycle.md 9.3 R2, R12). Pure. */
export function detailsOf(container: Container): KernelDetails {
  const { Config, Created, HostConfig, Mounts } = container;
  const config = Mounts.find(({ Destination }) => Destination === CONFIG_HOME)?.Source;
  const createdAtMs = Date.parse(Created);
  return {
    scratch: config === undefined ? null : dirname(config),
    labels: Config.Labels,
    image: Config.Image === '' ? null : Config.Image,
    hostname: Config.Hostname === '' ? null : Config.Hostname,
    environment: Object.fromEntries(
      Config.Env.flatMap((text) => {
        const equals = text.indexOf('=');
        return equals <= 0 ? [] : [[text.slice(0, equals), text.slice(equals + 1)]];
      }),
    ),
    published: Object.entries(HostConfig.PortBindings).flatMap(([port, bindings]) =>
      (bindings ?? []).map(({ HostPort }) => ({
        containerPort: Number.parseInt(port, 10),
        hostPort: Number(HostPort),
      })),
    ),
    network: NO_NETWORKS.has(HostConfig.NetworkMode) ? null : HostConfig.NetworkMode,
    shmBytes: HostConfig.ShmSize === 0 ? null : HostConfig.ShmSize,
    createdAtMs: Number.isNaN(createdAtMs) ? null : createdAtMs,
  };
}
