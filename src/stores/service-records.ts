import type { Redis } from 'ioredis';
import type { AgentEtcdView } from './agent-etcd-view.js';
import { StoreUnavailableError } from './errors.js';
import type { NestedMap } from './nested-map.js';

/** How Prometheus finds this process through a manager (spec/events-and-stores.md 8.1). */
export interface ServiceRecord {
  readonly id: string;
  readonly displayName: string;
  readonly serviceGroup: string;
  readonly version: string;
  /** Of the HTTP service with `/metrics`. */
  readonly endpoint: { readonly host: string; readonly port: number };
  readonly registeredAtMs: number;
  /** Null: none are written, as 25.17 did. */
  readonly labels: Readonly<Record<string, string>> | null;
}

/** Where such records are kept. Every method rejects when it is not certain that it was done. */
export interface ServiceRecords {
  /** Writes or refreshes. */
  put(record: ServiceRecord, nowMs: number): Promise<void>;
  remove(record: ServiceRecord): Promise<void>;
  /** Removes what others than `own` left behind, where nothing else does; returns the ids. */
  sweep(own: ServiceRecord, nowMs: number): Promise<readonly string[]>;
}

const REDIS_LIFETIME_SEC = 180;
const ETCD_ROOT = 'ai/backend/service_discovery';
/** A record in etcd that was not refreshed for longer belongs to nobody any more. */
const ETCD_LIFETIME_SEC = 300;

/** The fields as the original's own writer lays them out. */
function fieldsOf(record: ServiceRecord, nowMs: number) {
  const { host, port } = record.endpoint;
  const address = `${host}:${String(port)}`;
  return {
    id: record.id,
    display_name: record.displayName,
    service_group: record.serviceGroup,
    version: record.version,
    endpoint: { address, port, protocol: 'http', prometheus_address: address },
    health_status: { registration_time: record.registeredAtMs / 1000, last_heartbeat: nowMs / 1000 },
    ...(record.labels === null ? {} : { labels: record.labels }),
  };
}

/** A hash with a lifetime in database 0 of the `live` role's server; each field is a JSON document. */
export class RedisServiceRecords implements ServiceRecords {
  readonly #client: () => Redis;

  /** A client of database 0. */
  constructor(client: () => Redis) {
    this.#client = client;
  }

  async put(record: ServiceRecord, nowMs: number): Promise<void> {
    const fields = Object.entries(fieldsOf(record, nowMs)).flatMap(([name, value]) => [
      name,
      JSON.stringify(value),
    ]);
    // One transaction: a reader that finds half a record fails for all of them.
    const results = await this.#client()
      .multi()
      .hset(keyOf(record), ...fields)
      .expire(keyOf(record), REDIS_LIFETIME_SEC)
      .exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed)
      throw new StoreUnavailableError(
        `redis did not take the service record: ${failed?.[0]?.message ?? 'no result'}`,
      );
  }

  async remove(record: ServiceRecord): Promise<void> {
    await this.#client().del(keyOf(record));
  }

  /** Records of others end with their lifetime. */
  sweep(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
}

const keyOf = ({ serviceGroup, id }: ServiceRecord): string => `service_discovery.${serviceGroup}.${id}`;

/** A subtree below the namespace, each leaf a text. Nothing in etcd ends by itself, so each participant sweeps. */
export class EtcdServiceRecords implements ServiceRecords {
  readonly #view: AgentEtcdView;

  constructor(view: AgentEtcdView) {
    this.#view = view;
  }

  async put(record: ServiceRecord, nowMs: number): Promise<void> {
    await this.#view.putTree(pathOf(record.serviceGroup, record.id), treeOf(fieldsOf(record, nowMs)));
  }

  async remove({ serviceGroup, id }: ServiceRecord): Promise<void> {
    // With the slash, or an id that begins like this one would go too.
    await this.#view.deletePrefix(`${pathOf(serviceGroup, id)}/`);
  }

  async sweep(own: ServiceRecord, nowMs: number): Promise<readonly string[]> {
    const stale: string[] = [];
    for (const [group, services] of await this.#view.getPrefix(ETCD_ROOT, 'global')) {
      if (!(services instanceof Map)) continue;
      for (const [id, service] of services) {
        const seenSec = lastHeartbeatSec(service);
        if (id === own.id || seenSec === null || nowMs / 1000 - seenSec <= ETCD_LIFETIME_SEC) continue;
        await this.#view.deletePrefix(`${pathOf(group, id)}/`);
        stale.push(id);
      }
    }
    return stale;
  }
}

const pathOf = (group: string, id: string): string => `${ETCD_ROOT}/${group}/${id}`;

function treeOf(fields: Readonly<Record<string, unknown>>): NestedMap {
  return new Map(
    Object.entries(fields).map(([name, value]): [string, string | NestedMap] => [
      name,
      typeof value === 'object' && value !== null ? treeOf({ ...value }) : String(value),
    ]),
  );
}

/** Null for what is no record of ours to judge. */
function lastHeartbeatSec(service: NestedMap | string): number | null {
  const health = service instanceof Map ? service.get('health_status') : undefined;
  const text = health instanceof Map ? health.get('last_heartbeat') : undefined;
  const seconds = typeof text === 'string' && text !== '' ? Number(text) : Number.NaN;
  return Number.isFinite(seconds) ? seconds : null;
}
