// Every function of the RPC surface, from the method table.
import ts from 'typescript';
import { METHODS, parametersOf } from '../../dist/rpc/method-table.js';
import { code, parts, table } from './markdown.mjs';
import { literal, nodesOf, sourceFiles } from './sources.mjs';
import { structureOf, typeOf } from './schemas.mjs';

/** Names of functions for which the sources throw NotImplementedError. */
function unimplemented() {
  const names = new Set();
  for (const file of sourceFiles())
    for (const node of nodesOf(file))
      if (ts.isNewExpression(node) && node.expression.getText() === 'NotImplementedError') {
        const name = literal(node.arguments?.[0]);
        if (name !== undefined) names.add(name);
      }
  return names;
}

function section(method, isUnimplemented, note) {
  const facts = [
    method.target === 'agent' ? 'one agent' : 'the node',
    method.lastIn === undefined ? '25.17 and 26.9' : `${method.lastIn} only`,
    method.repeat === 'safe' ? 'may be repeated' : 'must not be repeated',
  ];
  return parts(
    `### ${method.name}`,
    method.doc,
    isUnimplemented ? '**This release answers `NotImplementedError`.**' : '',
    `For ${facts.join('; ')}.`,
    table(
      ['parameter', 'type', 'default', 'meaning'],
      parametersOf(method).map((parameter) => {
        note(parameter.schema);
        return [
          code(parameter.name) +
            (parameter.nameIn26 === parameter.name ? '' : `, 26.9: ${code(parameter.nameIn26)}`) +
            (parameter.keywordOnly ? ', by name only' : ''),
          code(typeOf(parameter.schema)),
          parameter.optional
            ? code(JSON.stringify(parameter.defaultValue) ?? 'nil').replace('null', 'nil')
            : 'required',
          parameter.doc,
        ];
      }),
    ),
    `Returns ${code(typeOf(method.returns))}.`,
  );
}

export function page() {
  const missing = unimplemented();
  const structures = new Map();
  const note = (schema) => {
    for (const [name, fields] of structureOf(schema)) structures.set(name, fields);
  };
  const sections = METHODS.map((method) => {
    const text = section(method, missing.has(method.name), note);
    note(method.returns);
    return text;
  });
  return parts(
    '# RPC functions',
    'What a manager calls over Callosum ([callosum.md](callosum.md)), and what `splenium call` and `AgentClient.call` take. The table that the server ' +
      'dispatches from is the source of this page.',
    'Arguments may be given by position or by name. A function of one agent takes a trailing `agent_id`; absent or nil, the default agent answers. ' +
      'A function that *may be repeated* can be sent again by a caller who does not know whether the first call arrived.',
    'Types are those of the wire: `str`, `int`, `float`, `bool`, `bin`, `nil`, `array<T>`, `map<K,V>`, `ext(...)` for Backend.AI’s extension types; ' +
      '`enum-str` is a text or a member of a text enum, `uuid-str` a UUID in any spelling.',
    table(
      ['function', 'for', 'what it does'],
      METHODS.map((method) => [
        `[${method.name}](#${method.name})`,
        method.target,
        `${method.doc}${missing.has(method.name) ? ' *Not yet.*' : ''}`,
      ]),
    ),
    '## Functions',
    ...sections,
    '## Structures',
    'Keys that are not listed are ignored. A `?` marks a key that may be absent.',
    ...[...structures].map(([name, fields]) => parts(`### ${name}`, table(['key', 'type'], fields))),
  );
}
