import type { EngineEvent } from '../../../../src/backends/docker/engine-schemas.js';
import { EventFeed } from '../../../../src/backends/docker/event-feed.js';
import { systemClock } from '../../../../src/core/clock.js';
import { eventually } from '../../../support/eventually.js';
import { RecordedLog } from '../../../support/recorded-log.js';

const PATIENT = { timeoutMs: 20_000 };
const NOW_SECONDS = 1000;
const event = (time: number): EngineEvent => ({ time, Action: 'die', Actor: { ID: 'c', Attributes: {} } });

/** What the engine does with one attempt to listen. */
type Attempt = (signal: AbortSignal) => AsyncIterable<EngineEvent>;

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error('aborted'));
    });
  });

describe('the feed of events', () => {
  let since: number[];
  let heard: number[];
  let log: RecordedLog;
  let connects: number;
  let connect: () => Promise<void>;
  let feed: EventFeed;

  /** Attempts in their order; the last one is repeated. */
  const feedOf = (...attempts: Attempt[]) => {
    feed = new EventFeed({
      containers: {
        events: (_, sinceSeconds, signal) => {
          since.push(sinceSeconds);
          const attempt = attempts[Math.min(since.length, attempts.length) - 1];
          return attempt ? Promise.resolve(attempt(signal)) : Promise.reject(new Error('no attempt'));
        },
      },
      label: 'owner',
      clock: { ...systemClock, nowMs: () => NOW_SECONDS * 1000, sleep: () => Promise.resolve() },
      logger: log,
      onConnect: () => {
        connects += 1;
        return connect();
      },
      onEvent: ({ time }) => heard.push(time),
    });
    feed.open();
  };

  beforeEach(() => {
    since = [];
    heard = [];
    connects = 0;
    connect = () => Promise.resolve();
    log = new RecordedLog();
  });
  afterEach(() => feed.close());

  const live: Attempt = async function* (signal) {
    yield event(2003);
    await untilAborted(signal);
  };

  test('is taken up at the second of the last event when the engine ends or breaks it', async () => {
    feedOf(
      async function* () {
        yield await Promise.resolve(event(2001));
        // A late one does not move it back.
        yield event(1999);
      },
      async function* () {
        yield await Promise.resolve(event(2002));
        throw new Error('reset');
      },
      live,
    );
    await eventually(() => {
      expect(heard).toEqual([2001, 1999, 2002, 2003]);
    }, PATIENT);
    expect(since).toEqual([NOW_SECONDS - 5, 2001, 2002]);
    expect(connects).toBe(3);
    expect(feed.isListening).toBe(true);
  });

  test('of an engine that is away says so once, and once that it is back', async () => {
    const away: Attempt = () => {
      throw new Error('no engine');
    };
    feedOf(away, away, away, live);
    await eventually(() => {
      expect(heard).toEqual([2003]);
    }, PATIENT);
    expect(log.lines.map(({ message }) => message)).toEqual([
      'the container engine cannot be listened to',
      'the container engine is back',
    ]);
  });

  test('is tried again when what was missed cannot be found out', async () => {
    connect = () => (connects === 1 ? Promise.reject(new Error('no list')) : Promise.resolve());
    feedOf(live);
    await eventually(() => {
      expect(heard).toEqual([2003]);
    }, PATIENT);
    expect(connects).toBe(2);
  });

  test('ends with its user, in whatever it is', async () => {
    feedOf(live);
    await eventually(() => {
      expect(feed.isListening).toBe(true);
    }, PATIENT);
    await feed.close();
    expect(feed.isListening).toBe(false);
    expect(since).toHaveLength(1);
  });
});
