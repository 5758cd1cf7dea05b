import { parseAgentId } from '../core/ids.js';
import { findAccount } from './accounts.js';
import type { ConfigInput } from './compile.js';
import type { EffectiveValues } from './effective.js';
import type { Owner } from './formats.js';
import { absolute } from './paths.js';
import type { AgentPorts } from './port-ranges.js';
import { ALLOCATIONS } from './sections.js';
import type { AgentConfig, ManualAllocations, MetricSchedule } from './types.js';

/** One agent's values in plain units; everything has been checked before. */
export function compileAgent(values: EffectiveValues, ports: AgentPorts, input: ConfigInput): AgentConfig {
  const id = values.get('agent.id');
  const nfsAddress = values.get('container.scratch-nfs-address');
  const nfsOptions = values.get('container.scratch-nfs-options');
  return {
    id: id === null || id === '' ? null : parseAgentId(id),
    scalingGroup: values.get('agent.scaling-group'),
    scalingGroupType: values.get('agent.scaling-group-type'),
    agentSockPort: ports.sockPort,
    forceTerminateAbusingContainers: values.get('agent.force-terminate-abusing-containers'),
    portRange: ports.range,
    portReuseCooldownMs: values.get('container.port-reuse-cooldown-sec') * 1000,
    bindHost: values.get('container.bind-host'),
    advertisedHost: values.get('container.advertised-host'),
    scratchRoot: absolute(values.get('container.scratch-root'), input),
    scratchType: values.get('container.scratch-type'),
    scratchSizeBytes: values.get('container.scratch-size'),
    scratchNfs:
      nfsAddress === null || nfsOptions === null ? null : { address: nfsAddress, options: nfsOptions },
    statsType: values.get('container.stats-type'),
    sandboxType: values.get('container.sandbox-type'),
    jailArgs: values.get('container.jail-args'),
    alternativeBridge: values.get('container.alternative-bridge'),
    krunnerVolumes: values.get('container.krunner-volumes'),
    kernelUid: ownerId(values.get('container.kernel-uid'), 'uid', input),
    kernelGid: ownerId(values.get('container.kernel-gid'), 'gid', input),
    kernelCreationConcurrency: values.get('agent.kernel-creation-concurrency'),
    kernelLifecycles: {
      initPollingAttempts: values.get('kernel-lifecycles.init-polling-attempt'),
      initPollingTimeoutMs: values.get('kernel-lifecycles.init-polling-timeout-sec') * 1000,
      initTimeoutMs: values.get('kernel-lifecycles.init-timeout-sec') * 1000,
    },
    syncContainerLifecycles: {
      enabled: values.get('agent.sync-container-lifecycles.enabled'),
      intervalMs: values.get('agent.sync-container-lifecycles.interval') * 1000,
    },
    utilizationMetric: {
      node: schedule(values, 'node'),
      container: schedule(values, 'container'),
      process: schedule(values, 'process'),
    },
    allocations: values.isWritten(ALLOCATIONS) ? allocationsOf(values) : null,
  };
}

/** The original measures every 5 s in 25.17 and every 30 s from 26.8 on. */
function schedule(values: EffectiveValues, what: 'node' | 'container' | 'process'): MetricSchedule {
  const usual = values.get('splenium.manager-version') === '25.17' ? 5 : 30;
  return {
    enabled: values.get(`agent.utilization-metric.${what}.enable`),
    intervalMs: (values.get(`agent.utilization-metric.${what}.interval`) ?? usual) * 1000,
  };
}

function ownerId(owner: Owner, which: 'uid' | 'gid', { host }: ConfigInput): number | null {
  return typeof owner === 'string' ? (findAccount(host.passwd, owner)?.[which] ?? null) : owner;
}

function allocationsOf(values: EffectiveValues): ManualAllocations {
  const cpu = values.get('resource.allocations.cpu');
  const devices = values.get('resource.allocations.devices');
  return {
    cpu: cpu.count,
    memBytes: values.get('resource.allocations.mem'),
    devices: devices.amounts,
    deviceIds: { ...(cpu.ids === null ? {} : { cpu: cpu.ids }), ...devices.ids },
  };
}
