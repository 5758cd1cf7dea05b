import { systemClock } from '../../../src/core/clock.js';
import { ReplyLine } from '../../../src/runner/reply-line.js';
import { readApps, readCompletion, readServiceResult, readStatus } from '../../../src/runner/replies.js';
import { statusPayload } from '../../../src/kernel-runner/messages.js';

const nothing = () => undefined;
const wait = { timeoutMs: undefined, signal: undefined };
const bytes = (text: string) => Buffer.from(text);

test('replies answer requests in order', async () => {
  const line = new ReplyLine('status', systemClock, 10);
  const both = [line.ask(nothing, wait), line.ask(nothing, wait)];
  expect(line.answer(bytes('1'))).toBe(true);
  expect(line.answer(bytes('2'))).toBe(true);
  expect(line.answer(bytes('3'))).toBe(false);
  expect((await Promise.all(both)).map(String)).toEqual(['1', '2']);
});

test('a late reply is not handed to the next request', async () => {
  const line = new ReplyLine('start-service', systemClock, 10);
  await expect(line.ask(nothing, { timeoutMs: 0, signal: undefined })).rejects.toMatchObject({
    code: 'TIMEOUT',
  });
  const next = line.ask(nothing, wait);
  line.answer(bytes('late'));
  line.answer(bytes('mine'));
  expect(String(await next)).toBe('mine');
});

test('unanswered requests are bounded, and one that cannot be sent does not count', async () => {
  const line = new ReplyLine('status', systemClock, 1);
  const failing = () => {
    throw new Error('full');
  };
  await expect(line.ask(failing, wait)).rejects.toThrow('full');
  const first = line.ask(nothing, wait);
  await expect(line.ask(nothing, wait)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  line.answer(bytes('x'));
  await first;
});

test('replies are checked', () => {
  expect(readStatus(statusPayload({ started_at: 1.5, pending: ['code'] }))).toEqual({
    status: { startedAt: 1.5 },
    pending: ['code'],
  });
  expect(readStatus(Buffer.from('81aa737461727465645f6174cb3ff8000000000000', 'hex'))).toEqual({
    status: { startedAt: 1.5 },
    pending: undefined,
  });
  expect(readStatus(bytes(''))).toBeUndefined();
  expect(readStatus(Buffer.from([0xc1]))).toBeUndefined();
  expect(readServiceResult(bytes('{"status": "started"}'))).toEqual({ status: 'started' });
  expect(readServiceResult(bytes('{"status": 1}'))).toMatchObject({ status: 'failed' });
  expect(readCompletion(bytes('{"suggestions": ["a"]}'))).toEqual({
    status: 'finished',
    error: null,
    suggestions: ['a'],
  });
  expect(readCompletion(bytes('[]'))).toMatchObject({ status: 'failed', suggestions: [] });
  expect(readApps(bytes('{"status": "done", "data": [{"name": "web", "url_template": "u"}]}'))).toEqual({
    status: 'done',
    error: null,
    apps: [{ name: 'web', urlTemplate: 'u' }],
  });
  expect(readApps(bytes('{"status": "failed", "error": "why"}'))).toEqual({
    status: 'failed',
    error: 'why',
    apps: [],
  });
});
