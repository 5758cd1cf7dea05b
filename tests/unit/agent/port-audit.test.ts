import { randomUUID } from 'node:crypto';
import { PortAudit } from '../../../src/agent/port-audit.js';
import { PortPool } from '../../../src/agent/port-pool.js';
import { parseKernelId } from '../../../src/core/ids.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

const RANGE = [30_000, 30_003] as const;
const LEASE_MS = 60_000;

function bench() {
  const clock = new ManualClock();
  const ports = new PortPool({
    range: RANGE,
    clock,
    leaseMs: LEASE_MS,
    probe: () => Promise.resolve(true),
  });
  const registered = new Set<string>();
  const logger = new RecordedLog();
  const audit = new PortAudit({ ports, registry: { has: (id) => registered.has(id) }, logger });
  return { clock, ports, registered, logger, audit, kernelId: parseKernelId(randomUUID()) };
}

test('ports of a kernel that is gone are taken back in the second round, and the defect is logged (L6)', async () => {
  const { ports, audit, kernelId, logger } = bench();
  await ports.acquire(kernelId, 2);
  audit.round();
  expect(ports.portsOf(kernelId)).toHaveLength(2);
  audit.round();
  expect(ports.portsOf(kernelId)).toEqual([]);
  expect(logger.lines).toMatchObject([{ level: 'error', fields: { kernelId } }]);
});

test('a registered kernel keeps its ports, whether anything is bound to them or not', async () => {
  const { ports, audit, kernelId, registered } = bench();
  registered.add(kernelId);
  await ports.acquire(kernelId, 2);
  for (let round = 0; round < 6; round += 1) audit.round();
  expect(ports.portsOf(kernelId)).toHaveLength(2);
});

test('a kernel that is back in the next round is no longer suspected', async () => {
  const { ports, audit, kernelId, registered } = bench();
  await ports.acquire(kernelId, 1);
  audit.round();
  registered.add(kernelId);
  audit.round();
  registered.delete(kernelId);
  audit.round();
  expect(ports.portsOf(kernelId)).toHaveLength(1);
});

test('a port that the manager reserved ends with its time, not with an audit', async () => {
  const { clock, ports, audit } = bench();
  await ports.assign();
  for (let round = 0; round < 6; round += 1) audit.round();
  const reserved = ports.freeCount;
  clock.advance(LEASE_MS * 10);
  expect(ports.freeCount).toBeGreaterThan(reserved);
});
