import { jest } from '@jest/globals';
import type { KernelHandle } from '../../../../src/backends/backend.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../../../src/core/ids.js';
import { chunksOf, collectLogs } from '../../../../src/kernels/lifecycle/collect-logs.js';
import type { LifecycleParts } from '../../../../src/kernels/lifecycle/parts.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const handle: KernelHandle = {
  version: 1,
  backend: 'dummy',
  agentId: AGENT,
  kernelId: parseKernelId('11111111-2222-3333-4444-555555555555'),
  sessionId: parseSessionId('99999999-2222-3333-4444-555555555555'),
  containerId: asContainerId('c-1'),
  state: {},
};

test.each([
  [0, []],
  [1, [1]],
  [4, [4]],
  [5, [4, 1]],
  [8, [4, 4]],
])('%d bytes are cut into %j', (length, sizes) => {
  const bytes = Uint8Array.from({ length }, (_, index) => index);
  const chunks = chunksOf(bytes, 4);
  expect(chunks.map((chunk) => chunk.length)).toEqual(sizes);
  expect(Buffer.concat(chunks)).toEqual(Buffer.from(bytes));
});

describe('collecting', () => {
  const collect = async (outcome: {
    readonly log: string;
    readonly failure?: Error;
    readonly reading?: Promise<never>;
    readonly outcome?: 'stored' | 'kept';
  }) => {
    const logger = new RecordedLog();
    const stored: string[] = [];
    const told: string[] = [];
    await collectLogs(
      {
        agentId: AGENT,
        backend: {
          logs: () => outcome.reading ?? Promise.resolve(Buffer.from(outcome.log)),
        } as unknown as LifecycleParts['backend'],
        events: {
          publish: (_, event) => {
            told.push(event.name);
            return Promise.resolve();
          },
        },
        logs: {
          chunkBytes: 4,
          maxBytes: 100,
          store: ({ containerId }, chunks) => {
            if (outcome.failure) return Promise.reject(outcome.failure);
            stored.push(containerId, ...chunks.map((chunk) => Buffer.from(chunk).toString()));
            return Promise.resolve(outcome.outcome ?? 'stored');
          },
        },
        logger,
      },
      handle,
    );
    return { stored, told, warnings: logger.lines.length };
  };

  test('hands the log over, then says so', async () => {
    expect(await collect({ log: 'hello world' })).toEqual({
      stored: ['c-1', 'hell', 'o wo', 'rld'],
      told: ['do_sync_kernel_logs'],
      warnings: 0,
    });
  });

  test('says nothing yet of a log that is kept until it can be handed over', async () => {
    expect(await collect({ log: 'hello', outcome: 'kept' })).toEqual({
      stored: ['c-1', 'hell', 'o'],
      told: [],
      warnings: 0,
    });
  });

  test('says nothing of a log that could not be kept, and does not fail', async () => {
    expect(await collect({ log: 'hello', failure: new Error('away') })).toEqual({
      stored: [],
      told: [],
      warnings: 1,
    });
  });

  test('a log that never ends is given up after a minute, and the end goes on (D10)', async () => {
    jest.useFakeTimers();
    try {
      const collected = collect({ log: '', reading: new Promise<never>(() => undefined) });
      await jest.advanceTimersByTimeAsync(60_000);
      expect(await collected).toEqual({ stored: [], told: [], warnings: 1 });
    } finally {
      jest.useRealTimers();
    }
  });

  test('an empty log is none', async () => {
    expect(await collect({ log: '' })).toEqual({ stored: [], told: [], warnings: 0 });
  });
});
