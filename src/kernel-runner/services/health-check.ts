/** How a model's health is probed (spec/kernel-runner.md 4.10). */
export interface HealthCheck {
  readonly url: string;
  readonly intervalMs: number;
  readonly initialDelayMs: number;
  readonly maxWaitMs: number;
  readonly maxRetries: number;
  readonly expectedStatus: number;
}

/** Probes until the signal aborts and reports changes only. An exception in a probe is a failed probe. */
export async function watchHealth(
  check: HealthCheck,
  signal: AbortSignal,
  report: (isHealthy: boolean) => void,
): Promise<void> {
  let healthy: boolean | undefined;
  let failures = 0;
  await pause(check.initialDelayMs, signal);
  while (!signal.aborted) {
    const startedAt = performance.now();
    if (await probe(check, signal)) {
      if (healthy !== true) {
        healthy = true;
        report(true);
      }
      failures = 0;
    } else {
      // As the original's runner was seen to do: more than `maxRetries` probes have failed before the one that reports it.
      if (failures > check.maxRetries && healthy !== false) {
        healthy = false;
        report(false);
      }
      failures += 1;
    }
    await pause(Math.max(0, check.intervalMs - (performance.now() - startedAt)), signal);
  }
}

async function probe({ url, maxWaitMs, expectedStatus }: HealthCheck, signal: AbortSignal): Promise<boolean> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(maxWaitMs)]);
    const response = await fetch(url, { signal: limit, redirect: 'follow' });
    await response.body?.cancel();
    return response.status === expectedStatus;
  } catch {
    return false;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
