import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import { type KernelId, parseKernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { knownReason } from '../events/termination-reasons.js';
import type { Agent } from './agent.js';
import { underFileLock } from './report-lock.js';

export type AbuseState = 'detected' | 'cleaning';

/** One agent, and whether it ends kernels that are reported. */
export interface WatchedAgent {
  readonly agent: Pick<Agent, 'kernels' | 'destroyKernel'>;
  readonly isForced: boolean;
}

interface AbuseReportParts {
  readonly directory: string;
  /** Those that run now. */
  readonly agents: () => readonly WatchedAgent[];
  /** Takes the whole of what is known, in place of what was before. */
  readonly publish: (reports: ReadonlyMap<string, AbuseState>) => Promise<void>;
  readonly logger: Logger;
}

const LOCK_WAIT_MS = 3000;
/** A report has three short fields. */
const MAX_REPORT_BYTES = 64 * 1024;
const ANOMALY = 'anomaly-detected';

const reportSchema = z.object({
  ID: z.string().transform(parseKernelId),
  reason: z.unknown().optional(),
});

interface Report {
  readonly file: string;
  readonly kernelId: KernelId;
  readonly reason: string;
}

/**
 * Reports of a watcher on kernels that abuse resources (spec/kernel-lifecycle.md 5.8). There is one of these for all
 * agents of the process, as they share the one place where managers look.
 */
export class AbuseReports {
  readonly #parts: AbuseReportParts;
  /** Names of files that make no sense, said once each. */
  #unreadable = new Set<string>();

  constructor(parts: AbuseReportParts) {
    this.#parts = parts;
  }

  /** Reads what is there, ends kernels where that is wanted, and publishes. @throws what keeps it from either. */
  async round(): Promise<void> {
    const { directory, publish } = this.#parts;
    const states = await underFileLock(join(directory, 'report.lock'), LOCK_WAIT_MS, async () => {
      const found = new Map<string, AbuseState>();
      for (const report of await this.#read()) {
        const state = await this.#handle(report);
        // Of two reports on one kernel the one that ends it tells more.
        if (state !== null && found.get(report.kernelId) !== 'cleaning') found.set(report.kernelId, state);
      }
      return found;
    });
    await publish(states);
  }

  async #read(): Promise<readonly Report[]> {
    const { directory, logger } = this.#parts;
    const reports: Report[] = [];
    const unreadable = new Set<string>();
    for (const name of (await readdir(directory)).sort()) {
      if (!/^report\..*\.json$/s.test(name)) continue;
      const file = join(directory, name);
      try {
        const report = await readReport(file);
        if (report !== null) reports.push(report);
      } catch (error) {
        unreadable.add(name);
        if (!this.#unreadable.has(name))
          logger.warn('an abuse report is not readable', { file, error: messageOf(error) });
      }
    }
    this.#unreadable = unreadable;
    return reports;
  }

  /** Null: nothing is to be told of it. */
  async #handle({ file, kernelId, reason }: Report): Promise<AbuseState | null> {
    const { logger } = this.#parts;
    const agents = this.#parts.agents();
    const owner = agents.find(({ agent }) => agent.kernels.has(kernelId));
    if (!owner) return agents.every(({ isForced }) => isForced) ? null : 'detected';
    if (!owner.isForced) return 'detected';
    const { agent } = owner;
    const { sessionId } = agent.kernels.get(kernelId);
    logger.warn('a kernel that abuses resources is ended', { kernelId, reason });
    // Not awaited: the end of a kernel may take longer than a round, and goes on by itself.
    agent.destroyKernel({ kernelId, sessionId, reason, suppressEvents: false }).catch((error: unknown) => {
      logger.error('a kernel that abuses resources is not ended', { kernelId, error: messageOf(error) });
    });
    await rm(file, { force: true });
    return 'cleaning';
  }
}

/** Null when it vanished. @throws when it is no report. */
async function readReport(file: string): Promise<Report | null> {
  try {
    const { size } = await stat(file);
    if (size > MAX_REPORT_BYTES) throw new Error(`it has ${String(size)} bytes`);
    const { ID, reason } = reportSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    const known = typeof reason === 'string' ? knownReason(reason) : 'unknown';
    // Who wrote `unknown` knew no better reason than ours.
    return { file, kernelId: ID, reason: known === 'unknown' ? ANOMALY : known };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}
