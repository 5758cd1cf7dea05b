import { engineFailure, statusOf } from '../../../../src/backends/docker/engine-failures.js';
import { containerSchema, eventSchema } from '../../../../src/backends/docker/engine-schemas.js';
import { isActive, outcomeOf, outcomeOfEnd } from '../../../../src/backends/docker/exit-outcome.js';
import { parseLimits } from '../../../../src/backends/docker/host-facts.js';
import { tagged } from '../../../../src/backends/docker/image-names.js';
import { loginOf } from '../../../../src/backends/docker/image-transfers.js';
import { jsonLines } from '../../../../src/backends/docker/json-lines.js';
import type { ImageRequest } from '../../../../src/backends/backend.js';
import { TimeoutError } from '../../../../src/core/errors.js';

const container = (State: Record<string, unknown>) =>
  containerSchema.parse({ Id: 'c', State, Config: {}, HostConfig: {}, Mounts: null });

describe('how a container ended whose end was asked for', () => {
  const STARTED = '2026-01-02T03:04:05.123456789Z';
  const startedMs = Date.parse(STARTED);
  const event = (exitCode: string | undefined, afterMs = 1000, Action = 'die') =>
    eventSchema.parse({
      time: Math.floor(startedMs / 1000),
      timeNano: (startedMs + afterMs) * 1e6,
      Action,
      Actor: { ID: 'c', Attributes: exitCode === undefined ? {} : { exitCode, image: 'busybox' } },
    });

  test.each([
    ['0', { exitCode: 0, oomKilled: false, detail: 'exited with status 0' }],
    ['3', { exitCode: 3, oomKilled: false, detail: 'exited with status 3' }],
    ['130', { exitCode: -2, oomKilled: false, detail: 'killed by signal 2' }],
  ])('status %s of the event tells', (exitCode, outcome) => {
    expect(outcomeOfEnd(event(exitCode), STARTED)).toEqual(outcome);
  });

  test.each([
    ['may have lacked memory', event('137'), STARTED],
    ['is of an earlier run', event('0', -1), STARTED],
    ['started nobody knows when', event('0'), null],
    ['has no status', event(undefined), STARTED],
    ['has a status that is none', event('-1'), STARTED],
    ['was removed', event('0', 1000, 'destroy'), STARTED],
  ])('one that %s is looked at', (_, what, startedAt) => {
    expect(outcomeOfEnd(what, startedAt)).toBeNull();
  });

  test('an event without a time to the nanosecond, or with odd attributes, is still a reason to look', () => {
    const odd = { time: 1, Action: 'die', Actor: { ID: 'c', Attributes: { exitCode: 0 } } };
    expect(outcomeOfEnd(eventSchema.parse(odd), STARTED)).toBeNull();
  });
});

test.each([
  // The engine's mark stays from the first process that was killed for lack of memory on.
  ['at the end of it', true, 200, true],
  ['long before somebody killed it', true, 60_000, false],
  ['at the end of it, which the engine has not noted yet', false, 5, true],
  ['a moment after it, as the engine says', true, -300, true],
  ['nobody knows when', true, null, true],
  ['never', false, null, false],
])('a container that lacked memory %s', (_, OOMKilled, beforeEndMs, oomKilled) => {
  const FinishedAt = '2026-01-02T03:04:05.123456789Z';
  const ended = container({ Status: 'exited', ExitCode: 137, OOMKilled, FinishedAt });
  const lastOomMs = beforeEndMs === null ? null : Date.parse(FinishedAt) - beforeEndMs;
  expect(outcomeOf(ended, lastOomMs).oomKilled).toBe(oomKilled);
});

describe('how a container ended', () => {
  test.each([
    [
      { Status: 'exited', ExitCode: 0 },
      { exitCode: 0, oomKilled: false, detail: 'exited with status 0' },
    ],
    [
      { Status: 'exited', ExitCode: 7 },
      { exitCode: 7, oomKilled: false, detail: 'exited with status 7' },
    ],
    [
      { Status: 'exited', ExitCode: 137 },
      { exitCode: -9, oomKilled: false, detail: 'killed by signal 9' },
    ],
    [
      { Status: 'exited', ExitCode: 137, OOMKilled: true },
      { exitCode: -9, oomKilled: true, detail: 'killed by signal 9, out of memory' },
    ],
    // One process of the kernel ran out of memory, long before.
    [
      { Status: 'exited', ExitCode: 1, OOMKilled: true },
      { exitCode: 1, oomKilled: false, detail: 'exited with status 1' },
    ],
    [
      { Status: 'dead', ExitCode: 255 },
      { exitCode: 255, oomKilled: false, detail: 'exited with status 255' },
    ],
    [
      { Status: 'exited', ExitCode: 127, Error: 'no loader' },
      { exitCode: 127, oomKilled: false, detail: 'exited with status 127: no loader' },
    ],
    [
      { Status: 'created', ExitCode: 128, Error: 'port is taken' },
      { exitCode: null, oomKilled: false, detail: 'created, never started' },
    ],
  ])('%j', (state, outcome) => {
    expect(outcomeOf(container(state))).toEqual(outcome);
  });

  test.each([
    ['running', true],
    ['paused', true],
    ['restarting', true],
    ['created', false],
    ['exited', false],
    ['removing', false],
    ['dead', false],
  ])('%s: %s', (Status, active) => {
    expect(isActive(container({ Status }))).toBe(active);
  });
});

describe('streams of records', () => {
  const read = async (...chunks: (string | Uint8Array)[]) => {
    const values: unknown[] = [];
    // eslint-disable-next-line @typescript-eslint/require-await
    const stream = (async function* () {
      yield* chunks;
    })();
    for await (const value of jsonLines(stream)) values.push(value);
    return values;
  };

  test('lines are put together from pieces, in the middle of a character too', async () => {
    const bytes = Buffer.from('{"a":"é"}\r\n');
    expect(await read('{"x":', '1}\n{"y":2}\n\n', bytes.subarray(0, 7), bytes.subarray(7), '[3]')).toEqual([
      { x: 1 },
      { y: 2 },
      { a: 'é' },
      [3],
    ]);
  });
  test('no JSON is an error', async () => {
    await expect(read('{"a":1}\n<html>\n')).rejects.toMatchObject({ name: 'SyntaxError' });
  });
  test('a line without an end is an error before it fills the memory', async () => {
    await expect(read('"', 'x'.repeat(1024 * 1024))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('failures of calls', () => {
  test('an engine that is not there says what to look at', () => {
    const error = engineFailure(
      'listing',
      Object.assign(new Error('connect ECONNREFUSED /s'), { code: 'ECONNREFUSED' }),
    );
    expect(error).toMatchObject({ code: 'BACKEND_UNAVAILABLE', retryable: true });
    expect(error.message).toContain('listing: the container engine cannot be reached');
  });
  test('a refusal keeps its status', () => {
    const error = engineFailure(
      'creating',
      Object.assign(new Error('(HTTP code 409) conflict '), { statusCode: 409 }),
    );
    expect(error).toMatchObject({ code: 'BACKEND_ENGINE_FAILED', retryable: false });
    expect(statusOf(error)).toBe(409);
    expect(engineFailure('x', Object.assign(new Error('busy'), { statusCode: 500 }))).toMatchObject({
      retryable: true,
    });
  });
  test('ours go through', () => {
    const error = new TimeoutError('slow');
    expect(engineFailure('x', error)).toBe(error);
    expect(statusOf(error)).toBeNull();
  });
});

describe('images', () => {
  test('without a tag the latest is meant', () => {
    expect(tagged('a/b')).toBe('a/b:latest');
    expect(tagged('host:5000/a/b')).toBe('host:5000/a/b:latest');
    expect(tagged('host:5000/a/b:1')).toBe('host:5000/a/b:1');
    expect(tagged('a@sha256:00')).toBe('a@sha256:00');
  });
  test('only a complete login is sent', () => {
    const image: ImageRequest = {
      canonical: 'r/a:1',
      digest: 'sha256:1',
      architecture: 'x86_64',
      isLocal: false,
      autoPull: 'digest',
      registry: null,
    };
    const login = (username: string | null, password: string | null) =>
      loginOf({ ...image, registry: { name: 'r', username, password } });
    expect(loginOf(image)).toBeNull();
    expect(login('u', null)).toBeNull();
    expect(login('u', '')).toBeNull();
    expect(login('', 'p')).toBeNull();
    expect(login('u', 'p')).toEqual({ username: 'u', password: 'p', serveraddress: 'r' });
  });
});

test('limits of a process', () => {
  const text = [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max open files            20000                1048576              files     ',
    'Max locked memory         8388608              unlimited            bytes     ',
  ].join('\n');
  expect(parseLimits(text)).toEqual({
    nofile: { soft: 20_000, hard: 1_048_576 },
    memlock: { soft: 8_388_608, hard: null },
  });
  expect(parseLimits('')).toEqual({
    nofile: { soft: null, hard: null },
    memlock: { soft: null, hard: null },
  });
});
