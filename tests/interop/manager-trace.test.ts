import { randomUUID } from 'node:crypto';
import { Peer } from '../../src/callosum/index.js';
import { createCodec } from '../../src/codec/index.js';
import { TestDaemon } from '../support/daemon.js';
import { managerTrace, shapeOf } from '../support/manager-trace.js';

let daemon: TestDaemon;
beforeAll(async () => {
  // More cores than a small machine has: the recorded cluster session wants two on one agent.
  daemon = await TestDaemon.start({ env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '4' } });
}, 120_000);
afterAll(() => daemon.dispose(), 120_000);

interface Creation {
  readonly service_ports: readonly unknown[];
  readonly resource_spec: { readonly mounts: readonly unknown[] };
}
/** The dummy backend of the recording has neither service ports nor mounts; everything else is compared. */
const bare = (result: unknown): unknown =>
  Array.isArray(result)
    ? (result as readonly Creation[]).map((creation) => ({
        ...creation,
        service_ports: [],
        resource_spec: { ...creation.resource_spec, mounts: [] },
      }))
    : result;

test('two recorded sessions of a manager 25.17.1: the daemon answers each call in the shape of the original', async () => {
  const { serverPublicKey } = daemon;
  if (serverPublicKey === null) throw new Error('the daemon serves without CURVE');
  const manager = await Peer.connect({
    address: daemon.address,
    serializer: createCodec(),
    curve: { ...daemon.manager, serverPublicKey },
    handshakeTimeoutMs: 60_000,
  });
  try {
    const fresh = new Map<string, string>();
    const rename = (id: string): string => {
      const renamed = fresh.get(id) ?? randomUUID();
      fresh.set(id, renamed);
      return renamed;
    };
    const served: string[] = [];
    for (const { method, body, result } of managerTrace(rename)) {
      const answer = await manager.invoke(method, body, { orderKey: 'text', timeoutMs: 90_000 });
      expect({ method, shape: shapeOf(bare(answer)) }).toEqual({ method, shape: shapeOf(bare(result)) });
      served.push(method);
    }
    expect(served).toEqual([
      'check_and_pull',
      ...['create_kernels', 'destroy_kernel'],
      'check_and_pull',
      ...[
        'create_local_network',
        'create_kernels',
        'destroy_kernel',
        'destroy_kernel',
        'destroy_local_network',
      ],
    ]);
    const nothing = { args: [], kwargs: {} };
    await expect(manager.invoke('list_kernels', nothing, { timeoutMs: 60_000 })).resolves.toEqual([]);
    const checks = (await manager.invoke('examine', nothing, { timeoutMs: 60_000 })) as { ok: boolean }[];
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(await daemon.kernelProcesses()).toEqual([]);
  } finally {
    await manager.close();
  }
}, 180_000);
