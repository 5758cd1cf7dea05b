import { hostname } from 'node:os';
import { type DaemonConfig, detectCloud, detectInstance, type InstanceIdentity } from '../config/index.js';
import type { Logger } from '../core/logger.js';

export interface NodeIdentity extends InstanceIdentity {
  /** What the cloud calls this machine's own address; null outside of one. */
  readonly cloudAddress: string | null;
}

type FetchText = Parameters<typeof detectCloud>[0]['fetchText'];

/**
 * What this machine is: from the metadata service of its cloud where the configuration says to ask one, else from
 * the machine itself (spec/config-and-resources.md 2.1). An agent's id never comes from here: a machine's name may
 * change, the id of an agent that has kernels must not.
 */
export async function identifyNode(options: {
  readonly config: Pick<DaemonConfig, 'cloudDetection'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
  readonly fetchText?: FetchText;
}): Promise<NodeIdentity> {
  const { config, env, logger, fetchText = fetchMetadata } = options;
  const name = hostname();
  const cloud = config.cloudDetection ? await detectCloud({ fetchText, hostname: name }) : null;
  if (cloud) logger.info('the cloud knows this machine', { provider: cloud.provider, region: cloud.region });
  else if (config.cloudDetection)
    logger.warn('no cloud answers for this machine; splenium.cloud-detection is on');
  return { ...detectInstance({ hostname: name, env, cloud }), cloudAddress: cloud?.address ?? null };
}

const fetchMetadata: FetchText = async (url, headers, signal) => {
  const response = await fetch(url, { headers, signal });
  if (!response.ok) throw new Error(`${url}: status ${String(response.status)}`);
  return response.text();
};
