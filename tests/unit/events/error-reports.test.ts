import { parseAgentId } from '../../../src/core/ids.js';
import { ErrorReports } from '../../../src/events/error-reports.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const ONE = parseAgentId('i-one');

test('a failure is told once, by its agent, and again after it had gone', () => {
  const events = new RecordedEvents();
  const reports = new ErrorReports({ agentId: ONE, events, logger: new RecordedLog() });
  for (const error of ['a', 'b', null, 'c']) reports.note('statistics of the node', error);
  reports.note('statistics of kernels', 'd');
  expect(events.published).toEqual(
    ['statistics of the node: a', 'statistics of the node: c', 'statistics of kernels: d'].map((message) => ({
      source: ONE,
      event: { name: 'agent_error', message, traceback: null },
    })),
  );
});

test('one that cannot be told is logged', async () => {
  const logger = new RecordedLog();
  const events = { publish: () => Promise.reject(new Error('no room')) };
  new ErrorReports({ agentId: ONE, events, logger }).note('statistics of the node', 'a');
  await new Promise((resolve) => setImmediate(resolve));
  expect(logger.lines).toMatchObject([{ level: 'warn', fields: { agentId: ONE, error: 'no room' } }]);
});
