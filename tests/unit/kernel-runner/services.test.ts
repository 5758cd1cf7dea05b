import { parseDefinition } from '../../../src/kernel-runner/services/definition.js';
import { parseModel } from '../../../src/kernel-runner/services/model.js';
import { parseRequest, planLaunch, splitWords } from '../../../src/kernel-runner/services/plan.js';
import { formatBraces, interpolate } from '../../../src/kernel-runner/services/template.js';
import type { TemplateValue } from '../../../src/kernel-runner/services/template.js';

const variables = new Map<string, TemplateValue>([
  ['runtime_path', '/usr/bin/python'],
  ['ports', [8080, 8081]],
  ['ref', { out: 'o', err: '' }],
]);

test.each([
  ['{runtime_path} -p {ports[1]}', '/usr/bin/python -p 8081'],
  ['{ ref[out] }${{ runtime_path }}', 'o/usr/bin/python'],
  ['{ports}', '[8080, 8081]'],
  ['{runtime_path!r}', "'/usr/bin/python'"],
  ['${HOME} $HOME', '${HOME} $HOME'],
])('%p becomes %p', (text, expected) => {
  expect(interpolate(text, variables)).toBe(expected);
});

test.each([
  ['{nobody}', "KeyError('nobody')"],
  ['{ref[none]}', "KeyError('none')"],
  ['{"json": 1}', 'InvalidServiceDefinition'],
  ['{ports[0]:>8}', 'InvalidServiceDefinition'],
])('%p fails with %p', (text, message) => {
  expect(() => interpolate(text, variables)).toThrow(message);
});

test('doubled braces are literal in arguments of prestart actions', () => {
  expect(formatBraces('{{"port": {ports[0]}}}', variables)).toBe('{"port": 8080}');
});

test('words are split as a shell does', () => {
  expect(splitWords(`run --name "a b" 'c "d"' e\\ f "g\\"h"`)).toEqual([
    'run',
    '--name',
    'a b',
    'c "d"',
    'e f',
    'g"h',
  ]);
});

test('a launch has arguments in order, and the definition wins over the client', () => {
  const definition = parseDefinition({
    command: 'serve',
    default_arguments: { '--a': '1', '--b': ['x', 'y'] },
    allowed_arguments: ['--a', '--c'],
    allowed_envs: ['MODE', 'KEY'],
    env: { MODE: 'fixed', 'P_{ports[0]}': '{runtime_path}' },
  });
  const request = parseRequest({
    name: 's',
    port: 8080,
    ports: [8080],
    protocol: 'http',
    options: { arguments: { '--a': '2', '--c': null }, envs: { MODE: 'client', KEY: 'v' } },
  });
  const base = { PATH: '/bin', LD_LIBRARY_PATH: '/opt/backend.ai/lib:/lib' };
  expect(planLaunch(definition, request, variables, base, '/w')).toEqual({
    name: 's',
    directory: '/w',
    argv: ['bash', '-c', 'serve', '--a', '2', '--b', 'x', 'y', '--c'],
    environment: {
      PATH: '/bin',
      LD_LIBRARY_PATH: '/lib',
      MODE: 'fixed',
      KEY: 'v',
      P_8080: '/usr/bin/python',
    },
  });
});

test.each([
  [{ shell: 'bash' }, "'command' is a text or a list of texts"],
  [{ command: 'x', colour: 'red' }, "unknown field 'colour'"],
  [{ command: 'x', env: { A: 1 } }, "'env' maps names to texts"],
  [{ command: 'x', prestart: [{}] }, "every item has an 'action'"],
])('the definition %p is refused', (value, message) => {
  expect(() => parseDefinition(value)).toThrow(message);
});

test('a model is launched as a service of its port', () => {
  const model = parseModel({
    name: 'm',
    model_path: '/models',
    service: { start_command: ['serve'], port: 8000, health_check: { path: 'health', max_wait_time: 2 } },
  });
  expect(model).toMatchObject({
    serviceName: 'm-8000',
    directory: '/models',
    healthCheck: {
      url: 'http://localhost:8000/health',
      maxWaitMs: 2000,
      maxRetries: 10,
      expectedStatus: 200,
    },
  });
  const disabled = { start_command: 'x', port: 1, health_check: { enable: false } };
  expect(parseModel({ name: 'm', model_path: '/', service: disabled }).healthCheck).toBeNull();
  expect(() => parseModel({ name: 'm', model_path: '/', service: null })).toThrow('no service');
});
