import {
  integerFrom,
  listOf,
  mapOf,
  oneOf,
  parseBoolean,
  parseNonEmptyText,
  parseOwner,
  parsePortRange,
  parseText,
} from '../formats.js';
import { expecting, optional } from '../parser.js';
import { parseSizeBytes } from '../size.js';
import { key, perAgent, table, unused } from './definition.js';

const trimmed = expecting('a string', (value: unknown) => parseText(value).trim());

/** Spec/config-and-resources.md 1.7.3. */
export const container = table('How kernels are contained.', {
  'bind-host': key('Host address of published ports; empty: detected', parseText, '', {
    aliases: ['kernel-host'],
    env: 'BACKEND_BIND_HOST_OVERRIDE',
  }),
  'advertised-host': key('Kernel host told to clients; unset: bind-host', optional(parseText), null, {
    example: 'node1.example.org',
  }),
  'krunner-volumes': key(
    'Docker volumes of the original’s kernel runner by distribution; with them kernels run it instead of ours, see splenium.docker.runner-package',
    optional(mapOf(parseText)),
    null,
    { example: {} },
  ),
  'kernel-uid': key('User of kernels; -1: our own', parseOwner, -1, perAgent),
  'kernel-gid': key('Group of kernels, by number or by user name; -1: our own', parseOwner, -1, perAgent),
  'port-range': key(
    'Host ports handed to kernels, both ends included; agents that inherit it get equal parts',
    parsePortRange,
    [30_000, 31_000],
    { ...perAgent, env: 'BACKEND_CONTAINER_PORT_RANGE' },
  ),
  'port-reuse-cooldown-sec': key('How long a released host port stays out of use', integerFrom(0), 60, {
    ...perAgent,
    unit: 's',
  }),
  'stats-type': key(
    'Where container statistics come from; cgroup needs root',
    optional(oneOf('docker', 'cgroup')),
    'docker',
    perAgent,
  ),
  'sandbox-type': key(
    'What confines kernels; the jail needs the runner of the original',
    oneOf('docker', 'jail'),
    'docker',
    {
      ...perAgent,
      env: 'BACKEND_SANDBOX_TYPE',
    },
  ),
  'jail-args': key('Further arguments of the jail', listOf(trimmed), [], perAgent),
  'scratch-type': key(
    'How scratch directories are made; hostfile needs root',
    oneOf('hostdir', 'hostfile', 'memory', 'k8s-nfs'),
    'hostdir',
    perAgent,
  ),
  'scratch-root': key('Directory of the kernels’ scratch directories', parseNonEmptyText, './scratches', {
    ...perAgent,
    env: 'BACKEND_SCRATCH_ROOT',
  }),
  'scratch-size': key('Size of one hostfile scratch', parseSizeBytes, 0, { ...perAgent, unit: 'bytes' }),
  'scratch-nfs-address': key('NFS server of k8s-nfs scratches', optional(parseText), null, {
    ...perAgent,
    example: '10.0.0.2:/scratches',
  }),
  'scratch-nfs-options': key('Mount options of k8s-nfs scratches', optional(parseText), null, {
    ...perAgent,
    example: 'rw,noatime',
  }),
  'alternative-bridge': key(
    'Docker network of kernels without a cluster network',
    optional(parseText),
    null,
    { ...perAgent, example: 'bridge' },
  ),
  'swarm-enabled': key('Docker Swarm flag of the original', parseBoolean, false, { ...perAgent, ...unused }),
});
