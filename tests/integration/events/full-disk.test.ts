import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCodec } from '../../../src/codec/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { type Logger, silentLogger } from '../../../src/core/logger.js';
import { noMetrics } from '../../../src/core/metrics.js';
import { EventEncoder } from '../../../src/events/event-encoder.js';
import type { DeliveryOutcome, EventDelivery, EventTransport } from '../../../src/events/event-transport.js';
import { Outbox, type OutboxLimits } from '../../../src/events/outbox.js';
import { OutboxLog } from '../../../src/events/outbox-log.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { requirement } from '../../support/requirements.js';

const AGENT = parseAgentId('i-one');
const SESSION = parseSessionId('22222222-2222-4222-8222-222222222222');
/** Fails with ENOSPC once it holds as much. */
const DISK_BYTES = 64 * 1024;

/** A small file system of its own; null where that is not allowed. */
async function mountSmallDisk(): Promise<string | null> {
  const directory = await mkdtemp(join(tmpdir(), 'splenium-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(DISK_BYTES)}`, 'tmpfs', directory], {
      stdio: 'ignore',
    });
    return directory;
  } catch {
    await rm(directory, { recursive: true, force: true });
    return null;
  }
}

class Transport implements EventTransport {
  readonly tokens: string[] = [];
  away = true;

  deliver({ token }: EventDelivery): Promise<DeliveryOutcome> {
    if (this.away) return Promise.reject(new Error('away'));
    this.tokens.push(token);
    return Promise.resolve({ held: null, hasGroup: null, position: '' });
  }
}

const disk = await mountSmallDisk();
const withDisk = requirement('the right to mount a tmpfs', disk !== null, { installable: false })
  ? describe
  : describe.skip;

withDisk('an outbox on a full disk', () => {
  const directory = disk ?? '';
  const path = join(directory, 'outbox.log');
  const filler = join(directory, 'filler');
  let transport: Transport;

  beforeEach(() => {
    transport = new Transport();
  });
  afterEach(async () => {
    for (const file of [path, filler, `${path}.new`]) await rm(file, { force: true });
  });
  afterAll(async () => {
    execFileSync('umount', [directory]);
    await rm(directory, { recursive: true, force: true });
  });

  const open = async (logger: Logger = silentLogger, limits: Partial<OutboxLimits> = {}): Promise<Outbox> => {
    const kept = await OutboxLog.open(path, logger);
    return new Outbox({
      encoder: new EventEncoder({ managerVersion: '25.17', codec: createCodec() }),
      ...{ transport, ...kept },
      limits: { maxEvents: 1000, maxBytes: 1_000_000, maxAgeMs: 3_600_000, ...limits },
      clock: systemClock,
      logger: silentLogger,
      metrics: noMetrics,
    });
  };
  const publish = (outbox: Outbox, occurrence: string) =>
    outbox.publish(
      AGENT,
      {
        name: 'kernel_preparing',
        kernelId: parseKernelId('0'.repeat(32)),
        sessionId: SESSION,
        reason: 'x'.repeat(1000),
      },
      occurrence,
    );
  const fill = async () => {
    await writeFile(filler, '').catch(() => undefined);
    // In ever smaller steps, to the last page.
    for (const bytes of [4096, 1])
      try {
        for (;;) await writeFile(filler, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        // Full.
      }
  };

  test('with the store away too, says that an event is not kept; it leaves all the same, in order', async () => {
    const outbox = await open();
    await publish(outbox, '1');
    await fill();
    // What is left of the last page may take one more.
    const outcomes = await Promise.allSettled(
      ['2', '3', '4', '5', '6', '7'].map((name) => publish(outbox, name)),
    );
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
    );
    expect(refused.length).toBeGreaterThan(0);
    for (const error of refused) expect(error).toMatchObject({ code: 'EVENT_NOT_KEPT', retryable: true });
    transport.away = false;
    await eventually(() => {
      expect(transport.tokens).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    });
    await outbox.close(5000);
  }, 90_000);

  test('an event that the disk refuses and the bound gives up is refused, by its name', async () => {
    const outbox = await open(silentLogger, { maxEvents: 1 });
    await fill();
    const outcomes: unknown[] = [];
    // Each pushes the one before it out. What is left of the last page may take the first ones.
    const names = ['1', '2', '3', '4', '5', '6', '7'];
    for (const name of names)
      outcomes.push(
        publish(outbox, name).then(
          () => 'kept',
          (error: unknown) => error,
        ),
      );
    const last = await Promise.all(outcomes.slice(0, -1)).then((all) => all.at(-1));
    expect(last).toMatchObject({
      code: 'EVENT_NOT_KEPT',
      message: expect.stringContaining('was given up') as string,
    });
    transport.away = false;
    expect(await outcomes.at(-1)).toBe('kept');
    expect(transport.tokens).toEqual(['7']);
    await outbox.close(5000);
  });

  test('with the store there, an event is kept by it', async () => {
    transport.away = false;
    const outbox = await open();
    await fill();
    for (const name of ['1', '2', '3', '4', '5', '6']) await publish(outbox, name);
    expect(transport.tokens).toHaveLength(6);
    await outbox.close(5000);
  });

  test('is written again once there is room, and nothing in it is spoilt', async () => {
    const log = new RecordedLog();
    const outbox = await open(log);
    await publish(outbox, '1');
    await fill();
    const names = ['2', '3', '4', '5', '6'];
    const waiting = names.map((name) => publish(outbox, name));
    await eventually(() => {
      expect(log.lines.map(({ message }) => message)).toContainEqual(
        expect.stringContaining('cannot be written'),
      );
    });
    await truncate(filler, 0);
    // Those that were refused are written when the next attempt to deliver has failed.
    await Promise.all(waiting);
    await publish(outbox, '7');
    await outbox.close(0);
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();

    transport.away = false;
    const restarted = await open();
    await restarted.close(5000);
    expect(transport.tokens).toEqual(['1', ...names, '7']);
  }, 60_000);

  test('opens when the disk is full, with what it holds', async () => {
    const crashed = await open();
    await publish(crashed, '1');
    await crashed.close(0);
    await fill();
    transport.away = false;
    const restarted = await open();
    await restarted.close(5000);
    expect(transport.tokens).toEqual(['1']);
  });
});
