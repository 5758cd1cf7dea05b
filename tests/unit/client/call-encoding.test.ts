import { encodeCall } from '../../../src/client/call-encoding.js';
import { findMethod } from '../../../src/rpc/method-table.js';
import type { Method } from '../../../src/rpc/method.js';

function method(name: string): Method {
  const found = findMethod(name);
  if (!found) throw new Error(name);
  return found;
}
const encode = (name: string, given: Readonly<Record<string, unknown>>, agentId: string | null = 'i-one') =>
  encodeCall(method(name), given, agentId);

test.each([
  ['gather_hwinfo', {}],
  ['scan_gpu_alloc_map', {}],
  ['assign_port', {}],
])('%s is called with the agent id as its only argument, by keyword', (name, given) => {
  expect(encode(name, given)).toEqual({ args: [], kwargs: { agent_id: 'i-one' } });
});

test.each<[string, Record<string, unknown>, unknown[]]>([
  ['create_local_network', { network_name: 'n' }, ['n']],
  ['check_and_pull', { image_configs: {} }, [{}]],
  ['upload_file', { filedata: 1, kernel_id: 'k', filename: 'f' }, ['k', 'f', 1]],
  ['start_service', { kernel_id: 'k', service: 's', opts: {} }, ['k', 's', {}]],
])(
  '%s has its arguments by position and the agent id by keyword, as a manager sends it',
  (name, given, args) => {
    expect(encode(name, given)).toEqual({ args, kwargs: { agent_id: 'i-one' } });
  },
);

test('what comes behind a gap goes by keyword', () => {
  expect(encode('destroy_kernel', { kernel_id: 'k', session_id: 's', suppress_events: true })).toEqual({
    args: ['k', 's'],
    kwargs: { suppress_events: true, agent_id: 'i-one' },
  });
  expect(encode('commit', { kernel_id: 'k', subdir: 'd', filename: 'f' })).toEqual({
    args: ['k', 'd'],
    kwargs: { filename: 'f', agent_id: 'i-one' },
  });
});

test('nil is an argument, absence is not', () => {
  expect(encode('destroy_kernel', { kernel_id: 'k', session_id: 's', reason: null }, null)).toEqual({
    args: ['k', 's', null],
    kwargs: {},
  });
});

test('functions without an agent id get none', () => {
  expect(encode('ping', { msg: 'x' })).toEqual({ args: ['x'], kwargs: {} });
  expect(encode('health', {})).toEqual({ args: [], kwargs: {} });
});

test('functions of the node that have one get it unless the caller gives another', () => {
  expect(encode('list_kernels', {})).toEqual({ args: [], kwargs: { agent_id: 'i-one' } });
  expect(encode('list_kernels', { agent_id: null })).toEqual({ args: [], kwargs: { agent_id: null } });
  expect(encode('list_kernels', {}, null)).toEqual({ args: [], kwargs: {} });
});

test('typed functions take everything by keyword', () => {
  expect(encode('gather_hwinfo_v2', { req: {} })).toEqual({
    args: [],
    kwargs: { req: {}, agent_id: 'i-one' },
  });
});
