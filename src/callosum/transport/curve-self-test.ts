import { Dealer } from 'zeromq';
import { deferred, within } from '../../core/async.js';
import { hasCode } from '../../core/errors.js';
import { CurveNotEnforcedError } from '../errors.js';
import { isPong, pingFrames } from '../wire/frames.js';
import type { CurveRehearsal } from './curve-rehearsal.js';
import { generateKeyPair } from './keys.js';
import { createObserved } from './socket-events.js';

export interface SelfTestOptions {
  /** Endpoint of the bound peer; a wildcard host is reached over loopback. */
  readonly endpoint: string;
  readonly serverPublicKey: string;
  /** How long one attempt may wait for a verdict; default 2000. */
  readonly timeoutMs?: number;
  /** The peer's own, so that it does not count these strangers among the real ones. */
  readonly rehearsal?: CurveRehearsal;
}

/** Attempts before the test gives up; an observer cannot always be opened. */
const ATTEMPTS = 3;
const TIMEOUT_MS = 2000;

/** The ZAP handler's verdict. */
const REFUSED_BY_KEY: ReadonlySet<string> = new Set(['handshake:error:auth']);
/**
 * CURVE does not speak with NULL. Which side notices first is a race: a server that did has closed the connection, and
 * its reset may overtake its greeting; on a busy machine that can happen time after time.
 */
const REFUSED_BY_MECHANISM: ReadonlySet<string> = new Set([
  'handshake:error:protocol',
  'handshake:error:other',
]);

type Verdict = 'refused' | 'let-in' | 'unknown';

/**
 * Makes sure that a bound peer turns strangers away, by being one: with a key made for the purpose, then with no key
 * at all. To be run before the peer is announced; libzmq accepts everybody when its authentication is not set up as
 * it should be, and says nothing (spec/wire-protocol.md 1.7).
 * @throws CurveNotEnforcedError when a stranger gets through, or when nobody answers.
 */
export async function verifyCurveRefusesStrangers(options: SelfTestOptions): Promise<void> {
  const pair = generateKeyPair();
  const strangers = [
    ['a key made up for this test', { ...pair, serverKey: options.serverPublicKey }],
    ['no key', undefined],
  ] as const;
  const end = options.rehearsal?.begin(pair.publicKey);
  try {
    for (const [what, curve] of strangers) demandRefusal(await judge(options, curve), what, options);
  } finally {
    end?.();
  }
}

/** @throws CurveNotEnforcedError */
function demandRefusal(verdict: Verdict, what: string, { endpoint }: SelfTestOptions): void {
  if (verdict === 'let-in')
    throw new CurveNotEnforcedError(`${endpoint}: a client with ${what} was let in; do not announce it`);
  if (verdict === 'unknown')
    throw new CurveNotEnforcedError(
      `${endpoint}: no verdict on a client with ${what}; is this the endpoint of a bound peer, and the key its own?`,
    );
}

interface StrangerKeys {
  readonly publicKey: string;
  readonly secretKey: string;
  readonly serverKey: string;
}

async function judge(options: SelfTestOptions, curve: StrangerKeys | undefined): Promise<Verdict> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const verdict = await attemptToConnect(options, curve);
    if (verdict !== 'unknown') return verdict;
  }
  return 'unknown';
}

async function attemptToConnect(
  { endpoint, timeoutMs = TIMEOUT_MS }: SelfTestOptions,
  curve: StrangerKeys | undefined,
): Promise<Verdict> {
  const refused = deferred<Verdict>();
  const { socket, watch } = createObserved(
    () => new Dealer({ linger: 0 }),
    ({ type }) => {
      if ((curve ? REFUSED_BY_KEY : REFUSED_BY_MECHANISM).has(type)) refused.resolve('refused');
    },
  );
  try {
    if (curve) {
      socket.curveServerKey = curve.serverKey;
      socket.curvePublicKey = curve.publicKey;
      socket.curveSecretKey = curve.secretKey;
    }
    socket.connect(reachable(endpoint));
    await socket.send(pingFrames());
    const answered = socket.receive().then((frames): Verdict => (isPong(frames) ? 'let-in' : 'unknown'));
    // Closing the socket below ends the read.
    answered.catch(() => undefined);
    return await within(Promise.race([answered, refused.promise]), { timeoutMs, what: endpoint });
  } catch (error) {
    if (hasCode(error, 'TIMEOUT')) return 'unknown';
    throw error;
  } finally {
    socket.close();
    watch.end();
  }
}

function reachable(endpoint: string): string {
  return endpoint
    .replace(/^tcp:\/\/(0\.0\.0\.0|\*):/, 'tcp://127.0.0.1:')
    .replace(/^tcp:\/\/\[::\]:/, 'tcp://[::1]:');
}
