import { describeProofs, readProofTable } from '../support/proof-table.js';

/** Lines of spec/events-and-stores.md 10 and its appendix A: how many there are in each part. */
const LINES = {
  /** Listed as ALIVE with its slots; the last line is the sentence behind the list. */
  '10.1': 6,
  /** The steps of the table, then the two sentences behind it. */
  '10.2': 9,
  /** "Fully working". */
  '10.3': 5,
  /** The table of vectors, then the whole heartbeat. */
  A: 8,
};

describeProofs(
  await readProofTable('tests/events-checklist.json'),
  Object.entries(LINES).flatMap(([part, count]) =>
    Array.from({ length: count }, (_, index) => `${part}-${String(index + 1)}`),
  ),
);
