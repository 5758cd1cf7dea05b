import { Heartbeat } from '../../../src/agent/heartbeat.js';
import { startCapacityScan } from '../../../src/daemon/capacity-scan.js';
import type { AgentInfo } from '../../../src/events/catalogue.js';
import { KernelRegistry } from '../../../src/kernels/kernel-registry.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { A, B, createNode, GIB, gpus, kernel, request, wholeGpus } from '../resources/test-node.js';

const HEARTBEAT_MS = 20_000;

test('a device that came, one that went and another reserve are in the next heartbeat; kernels keep theirs', async () => {
  const clock = new ManualClock(0);
  const log = new RecordedLog();
  const cuda = wholeGpus(gpus(2));
  const node = await createNode([A, B], {
    mode: 'auto-split',
    plugins: [new CpuPlugin({ fixedCores: 8 }), new MemoryPlugin({ fixedBytes: 16n * GIB }), cuda],
    logger: log,
  });
  node.forAgent(A).allocate(kernel(1), request({ 'cuda.device': '1' }));
  const events = new RecordedEvents();
  const heartbeats = [A, B].map(
    (agentId) =>
      new Heartbeat({
        agentId,
        kernels: new KernelRegistry(agentId),
        info: () => ({ availableSlots: node.forAgent(agentId).availableSlots() }) as AgentInfo,
        events,
        clock,
        logger: log,
        intervalMs: HEARTBEAT_MS,
      }),
  );
  const scan = startCapacityScan({ resources: node, clock, logger: log });
  /** What the last heartbeats say the agents have. */
  const told = (slot: string) =>
    [A, B].map((agentId) => {
      const last = events.published.findLast(
        ({ source, event }) => source === agentId && event.name === 'agent_heartbeat',
      )?.event;
      return last?.name === 'agent_heartbeat' ? last.info.availableSlots[slot] : undefined;
    });
  const tellsLater = (slot: string, expected: readonly string[]) =>
    eventually(() => {
      clock.advance(10_000);
      expect(told(slot)).toEqual(expected);
    });

  await tellsLater('cuda.device', ['1', '1']);
  cuda.setDevices(gpus(4));
  await tellsLater('cuda.device', ['2', '2']);
  // A free device has gone, and that of the kernel, which counts as long as the kernel lives.
  cuda.setDevices(gpus(4).slice(1, 3));
  await tellsLater('cuda.device', ['2', '1']);
  expect(node.gpuAllocMap(A)).toEqual({ '0': '1' });
  node.checkInvariants();
  node.forAgent(A).free(kernel(1));
  await tellsLater('cuda.device', ['1', '1']);
  node.reserve({ cpu: 4, memBytes: 0 });
  await tellsLater('cpu', ['2', '2']);

  await scan.stop();
  await Promise.all(heartbeats.map((heartbeat) => heartbeat.stop()));
});
