import { parseAgentId } from '../../../src/core/ids.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { snapshotText, textual } from '../../../src/runtime/snapshot.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { kernelRequest } from '../../support/kernel-requests.js';

describe('the debug snapshot', () => {
  test('without agents it is empty', () => {
    expect(snapshotText([])).toBe('');
  });

  test('every leaf is a text as Python writes it, and the structure stays', () => {
    expect(textual({ a: null, b: [true, false, 1.5, 2n], c: { d: 'x', e: undefined } })).toEqual({
      a: 'None',
      b: ['True', 'False', '1.5', '2'],
      c: { d: 'x', e: 'None' },
    });
  });

  test('it shows each agent with its kernels and what is allocated, indented by two', () => {
    const one = new FakeAgent('i-one');
    const two = new FakeAgent('i-two');
    const kernel = Kernel.requested(
      one.id,
      kernelRequest({ config: { environ: { LANG: 'C', HF_TOKEN: 'hidden', BACKEND_SECRET_KEY: 'hidden' } } }),
      0,
    );
    one.kernels.add(kernel);
    const text = snapshotText([one, two]);
    expect(text).toMatch(/^\{\n {2}"i-one": \{\n {4}"registry"/);
    expect(text).not.toContain('hidden');
    expect(text).not.toContain('cluster private');
    const document: unknown = JSON.parse(text);
    expect(document).toMatchObject({
      'i-one': {
        registry: {
          [kernel.id]: {
            kernel_id: kernel.id,
            agent_id: 'i-one',
            ownership_data: { session_id: kernel.sessionId },
            image: 'localhost/test/python:3.11-debian',
            version: '1',
            state: 'preparing',
            container_id: 'None',
            termination_reason: 'None',
            session_type: kernel.request.config.sessionType,
            network_driver: 'bridge',
            environ: { LANG: 'C', HF_TOKEN: '[redacted]', BACKEND_SECRET_KEY: '[redacted]' },
            data: { container_id: 'None', block_service_ports: 'False' },
          },
        },
        allocs: {},
      },
      'i-two': { registry: {}, allocs: {} },
    });
  });

  test('allocations are by device, slot and device id', () => {
    const device = (slotName: string, allocated: string) => ({
      slotName,
      modelName: '',
      numaNode: null,
      capacity: '1',
      allocated,
      free: '0',
      kernels: {},
    });
    const agent = new FakeAgent('i-one', {
      resourceUsage: () => ({
        agentId: parseAgentId('i-one'),
        slots: {},
        devices: {
          cpu: { '0': device('cpu', '1'), '1': device('cpu', '0') },
          mem: { root: device('mem', '64') },
        },
        kernels: {},
      }),
    });
    expect(JSON.parse(snapshotText([agent]))).toEqual({
      'i-one': {
        registry: {},
        allocs: { cpu: { cpu: { '0': '1', '1': '0' } }, mem: { mem: { root: '64' } } },
      },
    });
  });
});
