// Every event that agents announce.
import ts from 'typescript';
import { EVENT_KINDS } from '../../dist/events/wire/delivery.js';
import { code, parts, table } from './markdown.mjs';
import { docOf, literal, nameOf, nodesOf, sourceFile } from './sources.mjs';

/** Event name -> its fields, each with the text of its type. */
function catalogue() {
  const file = sourceFile('events/catalogue.ts');
  const types = new Map([
    ...file.statements.filter(ts.isTypeAliasDeclaration).map((alias) => [alias.name.text, alias.type]),
    ...file.statements.filter(ts.isInterfaceDeclaration).map((node) => [node.name.text, node]),
  ]);
  const events = new Map();
  const read = (type) => {
    if (ts.isUnionTypeNode(type)) type.types.forEach(read);
    else if (ts.isTypeReferenceNode(type)) read(types.get(type.typeName.getText()));
    else {
      const members = type.members.filter(ts.isPropertySignature);
      const names = members.find((member) => nameOf(member.name) === 'name').type;
      const fields = members
        .filter((member) => nameOf(member.name) !== 'name')
        .map((member) => ({ name: nameOf(member.name), type: typeText(member.type), doc: docOf(member) }));
      for (const one of ts.isUnionTypeNode(names) ? names.types : [names])
        events.set(one.literal.text, fields);
    }
  };
  read(types.get('AgentEvent'));
  const interfaces = file.statements.filter(
    (node) =>
      ts.isInterfaceDeclaration(node) &&
      ['InstalledImage', 'AgentInfo', 'ServiceEndpoint'].includes(node.name.text),
  );
  return { events, interfaces };
}

const typeText = (type) => type.getText().replaceAll('readonly ', '').replaceAll(/\s+/g, ' ');

/** Names that a switch of the 26.9 encoder answers with null: those managers do not know them. */
function unknownTo26() {
  const names = new Set();
  for (const node of nodesOf(sourceFile('events/wire/payload-26.ts'))) {
    if (!ts.isCaseBlock(node)) continue;
    let fallingThrough = [];
    for (const clause of node.clauses) {
      if (!ts.isCaseClause(clause)) continue;
      fallingThrough.push(literal(clause.expression));
      if (clause.statements.length === 0) continue;
      const [first] = clause.statements;
      if (ts.isReturnStatement(first) && first.expression?.kind === ts.SyntaxKind.NullKeyword)
        for (const name of fallingThrough) names.add(name);
      fallingThrough = [];
    }
  }
  return names;
}

export function page() {
  const { events, interfaces } = catalogue();
  const only25 = unknownTo26();
  const missing = Object.keys(EVENT_KINDS).filter((name) => !events.has(name));
  if (missing.length > 0) throw new Error(`not found in the catalogue: ${missing.join(', ')}`);
  return parts(
    '# Events',
    'What agents announce to managers. The fields are those of the program; how they look on the wire of 25.17 (positional msgpack) and 26.9 (JSON) ' +
      'is in `src/events/wire`. Every event carries the id of its agent as its source.',
    table(
      ['delivery', 'meaning'],
      [
        [code('anycast'), 'an entry of the stream `events`, which one of the managers takes'],
        [code('both'), 'that, and a message on the channel, which all of them hear'],
        [
          code('cached-broadcast'),
          'a message on the channel; the last one of a task is kept for those who come later',
        ],
      ],
    ),
    'Importance decides what a full outbox may let go of: a `report` is repeated or only informs and goes first; a `lifecycle` event is kept as long ' +
      'as the limits of `[splenium.outbox]` allow. The order of one kernel’s events is kept.',
    table(
      ['event', 'delivery', 'importance', 'managers', 'fields'],
      Object.entries(EVENT_KINDS).map(([name, { delivery, importance }]) => [
        code(name),
        delivery,
        importance,
        only25.has(name) ? '25.17' : '25.17, 26.9',
        events
          .get(name)
          .map((field) => `${code(`${field.name}: ${field.type}`)}${field.doc === '' ? '' : ` ${field.doc}`}`)
          .join('; '),
      ]),
    ),
    ...interfaces.map((node) =>
      parts(
        `## ${node.name.text}`,
        docOf(node),
        table(
          ['field', 'type', 'meaning'],
          node.members.map((member) => [
            code(nameOf(member.name)),
            code(typeText(member.type)),
            docOf(member),
          ]),
        ),
      ),
    ),
  );
}
