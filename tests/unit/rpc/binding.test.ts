import { bindArguments, signatureOf } from '../../../src/rpc/binding.js';
import { optional, required } from '../../../src/rpc/method.js';
import type { Parameter } from '../../../src/rpc/method.js';
import { anything } from '../../../src/rpc/wire/scalars.js';

const need = (name: string): Parameter => required(name, anything, '');
const may = (name: string, value: unknown, keywordOnly = false): Parameter =>
  optional(name, anything, value, '', { keywordOnly });
const needKeyword = (name: string): Parameter => ({ ...need(name), keywordOnly: true });

/** `def f(self, a, b, c=1, agent_id=None)` and so on. */
const FUNCTIONS: Readonly<Record<string, readonly Parameter[]>> = {
  ping: [need('msg')],
  f: [need('a'), need('b'), may('c', 1), may('agent_id', null)],
  none: [],
  commit: [
    need('kernel_id'),
    need('subdir'),
    may('canonical', null, true),
    may('filename', null, true),
    may('extra_labels', {}, true),
    may('agent_id', null, true),
  ],
  k: [need('a'), needKeyword('req'), needKeyword('x'), needKeyword('y')],
};

function bind(name: string, args: readonly unknown[], kwargs: object = {}): Record<string, unknown> {
  const signature = signatureOf(name, FUNCTIONS[name] ?? [], '25.17');
  const bound = bindArguments(signature, args, new Map(Object.entries(kwargs)));
  return Object.fromEntries([...bound].map(([parameter, value]) => [parameter.name, value]));
}

describe('arguments that bind', () => {
  test.each<[string, unknown[], object, object]>([
    ['ping', ['x'], {}, { msg: 'x' }],
    ['ping', [], { msg: 'x' }, { msg: 'x' }],
    ['ping', [null], {}, { msg: null }],
    ['f', [1, 2], {}, { a: 1, b: 2, c: 1, agent_id: null }],
    ['f', [1], { agent_id: 'x', b: 2 }, { a: 1, b: 2, c: 1, agent_id: 'x' }],
    ['f', [1, 2, 3, 'x'], {}, { a: 1, b: 2, c: 3, agent_id: 'x' }],
    ['f', [1, 2], { c: null }, { a: 1, b: 2, c: null, agent_id: null }],
    ['none', [], {}, {}],
    ['k', [1], { y: 4, req: 2, x: 3 }, { a: 1, req: 2, x: 3, y: 4 }],
    [
      'commit',
      ['k', 's'],
      { filename: 'f' },
      { kernel_id: 'k', subdir: 's', canonical: null, filename: 'f', extra_labels: {}, agent_id: null },
    ],
  ])('%s(*%j, **%j)', (name, args, kwargs, expected) => {
    expect(bind(name, args, kwargs)).toEqual(expected);
  });
});

// Every message is what CPython prints for the same signature and call.
describe('arguments that do not bind', () => {
  test.each<[string, unknown[], object, string]>([
    ['ping', [], {}, "AgentRPCServer.ping() missing 1 required positional argument: 'msg'"],
    ['ping', [1, 2], {}, 'AgentRPCServer.ping() takes 2 positional arguments but 3 were given'],
    ['ping', [1], { msg: 2 }, "AgentRPCServer.ping() got multiple values for argument 'msg'"],
    ['ping', [1], { agent_id: 3 }, "AgentRPCServer.ping() got an unexpected keyword argument 'agent_id'"],
    ['f', [], {}, "AgentRPCServer.f() missing 2 required positional arguments: 'a' and 'b'"],
    ['f', [], { a: 1, c: 2 }, "AgentRPCServer.f() missing 1 required positional argument: 'b'"],
    ['f', [1, 2, 3, 4, 5], {}, 'AgentRPCServer.f() takes from 3 to 5 positional arguments but 6 were given'],
    ['f', [1, 2, 3, 4, 5], { zz: 1 }, "AgentRPCServer.f() got an unexpected keyword argument 'zz'"],
    ['none', [1], {}, 'AgentRPCServer.none() takes 1 positional argument but 2 were given'],
    ['none', [1, 2], {}, 'AgentRPCServer.none() takes 1 positional argument but 3 were given'],
    [
      'commit',
      [1, 2, 3],
      { canonical: 1 },
      'AgentRPCServer.commit() takes 3 positional arguments but 4 positional arguments ' +
        '(and 1 keyword-only argument) were given',
    ],
    [
      'commit',
      [1, 2, 3],
      { canonical: 1, filename: 2 },
      'AgentRPCServer.commit() takes 3 positional arguments but 4 positional arguments ' +
        '(and 2 keyword-only arguments) were given',
    ],
    ['commit', [1, 2, 3], {}, 'AgentRPCServer.commit() takes 3 positional arguments but 4 were given'],
    [
      'commit',
      [],
      {},
      "AgentRPCServer.commit() missing 2 required positional arguments: 'kernel_id' and 'subdir'",
    ],
    [
      'commit',
      [1, 2],
      { kernel_id: 3, zz: 1 },
      "AgentRPCServer.commit() got multiple values for argument 'kernel_id'",
    ],
    [
      'commit',
      [1, 2],
      { zz: 1, kernel_id: 3 },
      "AgentRPCServer.commit() got an unexpected keyword argument 'zz'",
    ],
    ['k', [1], {}, "AgentRPCServer.k() missing 3 required keyword-only arguments: 'req', 'x', and 'y'"],
    [
      'k',
      [1, 2],
      { req: 1 },
      'AgentRPCServer.k() takes 2 positional arguments but 3 positional arguments ' +
        '(and 1 keyword-only argument) were given',
    ],
    ['k', [1], { req: 1 }, "AgentRPCServer.k() missing 2 required keyword-only arguments: 'x' and 'y'"],
  ])('%s(*%j, **%j)', (name, args, kwargs, message) => {
    expect(() => bind(name, args, kwargs)).toThrow(
      expect.objectContaining({ pythonName: 'TypeError', message }),
    );
  });
});

test('a parameter that the 26.9 line renamed binds by its new name there, and only there', () => {
  const parameters = [required('timeout', anything, '', { nameIn26: 'timeout_seconds' })];
  const by = (version: '25.17' | '26.9', keyword: string) => () =>
    bindArguments(signatureOf('t', parameters, version), [], new Map([[keyword, 1]]));
  expect([...by('25.17', 'timeout')().values()]).toEqual([1]);
  expect([...by('26.9', 'timeout_seconds')().values()]).toEqual([1]);
  expect(by('26.9', 'timeout')).toThrow("unexpected keyword argument 'timeout'");
  expect(by('25.17', 'timeout_seconds')).toThrow("unexpected keyword argument 'timeout_seconds'");
});
