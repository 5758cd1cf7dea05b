import { Redis } from 'ioredis';
import { parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { noMetrics } from '../../../src/core/metrics.js';
import { startCommitReports } from '../../../src/daemon/reports.js';
import { RedisConnections } from '../../../src/stores/redis-connections.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';
import { load } from '../../unit/config/config-file.js';

const available = requirement('redis', pathOf(REDIS_SERVER) !== '');
const WAIT = { timeoutMs: 60_000 };
const ONE = parseKernelId('11111111-1111-4111-8111-111111111111');
const TWO = parseKernelId('22222222-2222-4222-8222-222222222222');
const keyOf = (id: string) => `kernel.${id}.commit`;

(available ? test : test.skip)(
  'commits that are under way are told every seven seconds, and one that is over goes by itself',
  async () => {
    const redis = await RedisServer.start();
    const { config } = await load('[agent]\nbackend = "process"\nrpc-listen-addr = "127.0.0.1:6001"\n');
    const connections = new RedisConnections({
      targetOf: () => ({ ...config.redis, addr: { host: '127.0.0.1', port: redis.port } }),
      logger: silentLogger,
      metrics: noMetrics,
      checkIntervalMs: 60_000,
    });
    const reader = new Redis({ port: redis.port, db: 0 });
    const clock = new ManualClock();
    const committing = new Set([ONE, TWO]);
    const reports = startCommitReports({
      hosted: { committing },
      redis: connections,
      clock,
      logger: silentLogger,
    });
    try {
      await connections.whenReady('statistics', WAIT.timeoutMs);
      clock.advance(1000);
      await eventually(async () => {
        expect(await reader.mget(keyOf(ONE), keyOf(TWO))).toEqual(['ongoing', 'ongoing']);
      }, WAIT);
      committing.delete(TWO);
      await reader.del(keyOf(ONE));
      await eventually(async () => {
        // The round before may not be over when the time is moved.
        clock.advance(7000);
        expect(await reader.get(keyOf(ONE))).toBe('ongoing');
      }, WAIT);
      const leftSec = await reader.ttl(keyOf(ONE));
      expect(leftSec > 0 && leftSec <= 13).toBe(true);
      await reports.stop();
      await eventually(async () => {
        expect(await reader.exists(keyOf(ONE), keyOf(TWO))).toBe(0);
      }, WAIT);
    } finally {
      await reports.stop();
      reader.disconnect();
      await connections.close();
      await redis.stop();
    }
  },
  150_000,
);
