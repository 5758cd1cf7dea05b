import { createLogger } from '../../../src/observe/index.js';
import type { LoggerOptions } from '../../../src/observe/index.js';
import { ValueError } from '../../../src/core/errors.js';

const clock = { nowMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) };

function recorded(options: LoggerOptions = {}) {
  const lines: string[] = [];
  const logger = createLogger({ clock, sink: { write: (line) => lines.push(line) }, ...options });
  return { logger, lines, json: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('a JSON line has time, the level name of the original, message and fields', () => {
  const { logger, lines } = recorded();
  logger.warn('kernel is gone', { kernelId: 'k-1', ms: 12 });
  expect(lines).toEqual([
    '{"level":"WARNING","time":"2026-01-02T03:04:05.006Z","kernelId":"k-1","ms":12,"message":"kernel is gone"}\n',
  ]);
});

test.each([
  ['NOTSET', ['DEBUG', 'INFO', 'WARNING', 'ERROR']],
  ['trace', ['DEBUG', 'INFO', 'WARNING', 'ERROR']],
  ['DEBUG', ['DEBUG', 'INFO', 'WARNING', 'ERROR']],
  ['Info', ['INFO', 'WARNING', 'ERROR']],
  ['WARNING', ['WARNING', 'ERROR']],
  ['ERROR', ['ERROR']],
  ['CRITICAL', []],
])('level %s lets %j through', (level, expected) => {
  const { logger, json } = recorded({ level });
  logger.debug('d');
  logger.info('i');
  logger.warn('w');
  logger.error('e');
  expect(json().map((line) => line['level'])).toEqual(expected);
});

test('a level that does not exist is refused with the ones that do, and the old one stays', () => {
  expect(() => createLogger({ level: 'warn' })).toThrow(
    expect.objectContaining({ code: 'ARGS_INVALID_VALUE', message: expect.stringContaining('WARNING') }),
  );
  const { logger } = recorded({ level: 'ERROR' });
  expect(() => {
    logger.setLevel('loud');
  }).toThrow(expect.objectContaining({ code: 'ARGS_INVALID_VALUE' }));
  expect(logger.level).toBe('ERROR');
});

test('children add their fields, and a change of the level reaches those made before', () => {
  const { logger, json } = recorded();
  const child = logger.child({ agentId: 'i-one' }).child({ kernelId: 'k-1' });
  child.debug('unseen');
  logger.setLevel('DEBUG');
  child.debug('seen', { step: 'pull' });
  expect(json()).toEqual([
    expect.objectContaining({ agentId: 'i-one', kernelId: 'k-1', step: 'pull', message: 'seen' }),
  ]);
});

test('secrets are redacted at every depth, in children and in environment lists; places of secrets are not', () => {
  const { logger, lines, json } = recorded();
  logger.child({ authToken: 'hunter2' }).info('login', {
    password: 'hunter2',
    secretKey: 'hunter2',
    nested: { list: [{ SECRET_ACCESS_KEY: 'hunter2' }], redis: new Map([['passwd', 'hunter2']]) },
    environ: ['AWS_SECRET_KEY=hunter2', 'LANG=C'],
    registry: { 'api-key': 'hunter2', username: 'u', password: null },
    secretKeyFile: '/etc/agent.key_secret',
    publicKey: 'known',
  });
  expect(lines.join('')).not.toContain('hunter2');
  expect(json()).toEqual([
    expect.objectContaining({
      nested: { list: [{ SECRET_ACCESS_KEY: '[redacted]' }], redis: { passwd: '[redacted]' } },
      environ: ['AWS_SECRET_KEY=[redacted]', 'LANG=C'],
      registry: { 'api-key': '[redacted]', username: 'u', password: null },
      secretKeyFile: '/etc/agent.key_secret',
      publicKey: 'known',
    }),
  ]);
});

test('whatever a field holds, the line is one JSON object of bounded size', () => {
  const { logger, lines, json } = recorded();
  const loop: Record<string, unknown> = {};
  loop['self'] = loop;
  logger.info('odd', {
    loop,
    big: 2n ** 70n,
    bytes: new Uint8Array(5),
    long: 'x'.repeat(1_000_000),
    many: Array.from({ length: 10_000 }, (_, index) => index),
    when: new Date(0),
    call: () => undefined,
    set: new Set([1]),
    message: 'mine',
  });
  logger.info('thrower', {
    get trap(): string {
      throw new ValueError('no');
    },
  });
  expect(json()).toEqual([
    expect.objectContaining({
      big: '1180591620717411303424',
      bytes: '[5 bytes]',
      when: '1970-01-01T00:00:00.000Z',
      call: '[function]',
      set: [1],
      message_: 'mine',
      message: 'odd',
    }),
    expect.objectContaining({ message: 'thrower', fields: '[unprintable: no]' }),
  ]);
  expect(lines.join('').length).toBeLessThan(10_000);
});

test('an error is logged with its code, details and cause', () => {
  const { logger, json } = recorded();
  const cause = Object.assign(new Error('disk'), { code: 'ENOSPC' });
  logger.error('failed', { error: new ValueError('bad slot', { cause, details: { slot: 'cpu' } }) });
  expect(json()[0]?.['error']).toEqual({
    message: 'bad slot',
    code: 'ARGS_INVALID_VALUE',
    details: { slot: 'cpu' },
    cause: { message: 'disk', code: 'ENOSPC', stack: expect.stringContaining('disk') },
    stack: expect.stringContaining('bad slot'),
  });
});

test('the console format is one readable line, coloured only on demand', () => {
  const { logger, lines } = recorded({ format: 'console' });
  logger.info('listening', { address: '127.0.0.1:6001', note: 'two words\nand a line', n: 3 });
  expect(lines).toEqual([
    '2026-01-02T03:04:05.006Z INFO     listening address=127.0.0.1:6001 note="two words\\nand a line" n=3\n',
  ]);
  const coloured = recorded({ format: 'console', colored: true });
  coloured.logger.error('no');
  expect(coloured.lines).toEqual(['2026-01-02T03:04:05.006Z \u001b[31mERROR   \u001b[0m no\n']);
});
