import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const entrySchema = z.union([
  z.strictObject({
    rule: z.string().min(1),
    /** Titles as they stand in the file, with the placeholders of tables. */
    tests: z.array(z.strictObject({ file: z.string(), title: z.string().min(1) })).min(1),
    note: z.exactOptional(z.string().min(1)),
  }),
  z.strictObject({ rule: z.string().min(1), doesNotApply: z.string().min(1) }),
]);

/** By the name of a rule: the tests that prove it, or why it has none. */
export type ProofTable = Readonly<Record<string, z.infer<typeof entrySchema>>>;

const root = new URL('../../', import.meta.url);

/** @param path Of a JSON file, from the root of the repository. */
export async function readProofTable(path: string): Promise<ProofTable> {
  return z.record(z.string(), entrySchema).parse(JSON.parse(await readFile(new URL(path, root), 'utf8')));
}

/** A test for the names in the table, and one for each proof: is there such a test? */
export function describeProofs(table: ProofTable, names: readonly string[]): void {
  test('every rule is in the table, and nothing else', () => {
    expect(Object.keys(table).sort()).toEqual([...names].sort());
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
}
