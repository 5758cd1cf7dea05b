import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * Lints tests/fixtures/lint with the project's own configuration, in a process of its own because ESLint loads it
 * with import().
 */
interface FileReport {
  readonly filePath: string;
  readonly messages: readonly {
    readonly ruleId: string | null;
    readonly line: number;
    readonly message: string;
  }[];
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const fixture = `${root}tests/fixtures/lint/`;

const LINT = `
  import { ESLint } from 'eslint';
  const eslint = new ESLint({ cwd: process.argv[1], ignore: false });
  console.log(JSON.stringify(await eslint.lintFiles('tests/fixtures/lint')));
`;

const reports: Promise<ReadonlyMap<string, FileReport['messages']>> = new Promise((resolve, reject) => {
  execFile(
    process.execPath,
    ['--input-type=module', '--eval', LINT, root],
    { cwd: root, maxBuffer: 1 << 24 },
    (error, stdout, stderr) => {
      if (error) {
        reject(new Error(`linting the fixture: ${stderr || error.message}`));
        return;
      }
      const files = JSON.parse(stdout) as FileReport[];
      resolve(new Map(files.map(({ filePath, messages }) => [filePath.replace(fixture, ''), messages])));
    },
  );
});
reports.catch(() => undefined);

const complaints = async (file: string) =>
  (await reports).get(file)?.map(({ ruleId, line }) => `${String(line)} ${String(ruleId)}`);

test('a layer that imports what its row does not name is refused, whatever the form of the import', async () => {
  expect(await complaints('src/codec/layer.ts')).toEqual(
    [2, 3, 4, 7].map((line) => `${String(line)} import-x/no-restricted-paths`),
  );
  const [first] = (await reports).get('src/codec/layer.ts') ?? [];
  expect(first?.message).toContain('codec may import core (LAYERS');
});

test('a confined package is refused outside its folders, also when it is loaded late', async () => {
  expect(await complaints('src/codec/confined.ts')).toEqual([
    '2 no-restricted-imports',
    '3 no-restricted-imports',
    '7 no-restricted-syntax',
  ]);
  expect(await complaints('src/callosum/callee.ts')).toEqual(['2 no-restricted-imports']);
});

test.each(['src/core/facts.ts', 'src/rpc/door.ts', 'src/callosum/transport/socket.ts'])(
  '%s keeps the rules and passes',
  async (file) => {
    expect(await complaints(file)).toEqual([]);
  },
);
