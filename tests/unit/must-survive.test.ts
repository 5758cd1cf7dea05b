import { describeProofs, readProofTable } from '../support/proof-table.js';

/** Cases of spec/kernel-lifecycle.md 9: how many there are of each letter. */
const CASES = { C: 24, D: 22, R: 15, L: 14 };

describeProofs(
  await readProofTable('tests/must-survive.json'),
  Object.entries(CASES).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, index) => `${letter}${String(index + 1)}`),
  ),
);
