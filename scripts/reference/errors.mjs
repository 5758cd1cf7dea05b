// Every error that the program raises on purpose: the classes that go back to SpleniumError.
import ts from 'typescript';
import { byName, code, parts, table } from './markdown.mjs';
import { docOf, literal, nameOf, nodesOf, sourceFiles } from './sources.mjs';

const BASE = 'SpleniumError';

function readClasses() {
  const classes = new Map();
  for (const file of sourceFiles())
    for (const node of nodesOf(file)) {
      if (!ts.isClassDeclaration(node) || node.name === undefined) continue;
      const parent = node.heritageClauses
        ?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)
        ?.types[0]?.expression.getText();
      const name = node.name.text;
      const own = (property) => {
        const value = node.members.find(
          (member) => ts.isPropertyDeclaration(member) && nameOf(member.name) === property,
        )?.initializer;
        const isStatic = value && ts.isPropertyAccessExpression(value) && value.expression.getText() === name;
        return isStatic ? own(value.name.text) : literal(value);
      };
      if (classes.has(name) && parent !== undefined) throw new Error(`two classes are called ${name}`);
      classes.set(name, {
        name,
        parent,
        abstract: node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AbstractKeyword) === true,
        code: own('code'),
        pythonName: own('pythonName'),
        doc: docOf(node),
        file: file.fileName,
      });
    }
  return classes;
}

export function page() {
  const classes = readClasses();
  const lineage = (one) => (one === undefined ? [] : [one, ...lineage(classes.get(one.parent))]);
  const inherited = (one, property) => lineage(one).find((each) => each[property] !== undefined)?.[property];
  const errors = [...classes.values()]
    .filter((one) => !one.abstract && one.name !== BASE && lineage(one).some(({ name }) => name === BASE))
    .map((one) => ({
      ...one,
      code: inherited(one, 'code'),
      pythonName: inherited(one, 'pythonName'),
      doc: inherited(one, 'doc'),
    }))
    .sort((a, b) => byName(a.code, b.code) || byName(a.name, b.name));
  for (const { name, code: text, pythonName } of errors)
    if (text === undefined || pythonName === undefined)
      throw new Error(`${name} has no code or no pythonName`);
  return parts(
    '# Errors',
    'An error has two faces. `code` is for operators and programs: the command line prints it before the message, the log has it, and it ' +
      'stays the same from release to release. The *name at the manager* is the Python class name in a FAILURE reply, which managers match and ' +
      'copy into the status of a session; a client finds it as `remoteName`. The message says what happened, to which thing, and what to do.',
    'Match by `code`: `isSpleniumError(error, "TIMEOUT")`, not by class.',
    table(
      ['code', 'name at the manager', 'class', 'when', 'source'],
      errors.map(({ code: text, pythonName, name, doc, file }) => [
        code(text),
        code(pythonName),
        code(name),
        doc,
        code(`src/${file}`),
      ]),
    ),
    'The exit codes of the command line are in [cli.md](cli.md).',
  );
}
