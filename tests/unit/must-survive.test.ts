import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

/** Cases of spec/kernel-lifecycle.md 9: how many there are of each letter. */
const CASES = { C: 24, D: 22, R: 15, L: 14 };

const entrySchema = z.union([
  z.strictObject({
    rule: z.string().min(1),
    /** Titles as they stand in the file, with the placeholders of tables. */
    tests: z.array(z.strictObject({ file: z.string(), title: z.string().min(1) })).min(1),
    note: z.exactOptional(z.string().min(1)),
  }),
  z.strictObject({ rule: z.string().min(1), doesNotApply: z.string().min(1) }),
]);

const root = new URL('../../', import.meta.url);
const table = z
  .record(z.string(), entrySchema)
  .parse(JSON.parse(await readFile(new URL('tests/must-survive.json', root), 'utf8')));

test('every case that must be survived is in the table, and nothing else', () => {
  const ids = Object.entries(CASES).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, index) => `${letter}${String(index + 1)}`),
  );
  expect(Object.keys(table).sort()).toEqual(ids.sort());
});

const proofs = Object.entries(table).flatMap(([id, entry]) =>
  'tests' in entry ? entry.tests.map(({ file, title }) => [id, file, title] as const) : [],
);

test.each(proofs)('%s is proven by a test of %s: %s', async (_, file, title) => {
  const path = new URL(file, root);
  expect(existsSync(path)).toBe(true);
  const text = await readFile(path, 'utf8');
  const quoted = [`'${title.replaceAll("'", "\\'")}'`, `"${title}"`, `\`${title}\``];
  expect(quoted.some((form) => text.includes(form))).toBe(true);
});
