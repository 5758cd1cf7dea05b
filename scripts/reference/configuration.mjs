// Every key of the configuration file.
import { configKeys } from '../../dist/config/index.js';
import { isTableDefinition } from '../../dist/config/schema/definition.js';
import { DUMMY_SCHEMA } from '../../dist/config/schema/dummy.js';
import { SCHEMA } from '../../dist/config/schema/index.js';
import { code, parts, table } from './markdown.mjs';

const KEYS = new Map(configKeys().map((key) => [key.path, key]));

function keyRow(path, name) {
  const key = KEYS.get(path);
  if (key === undefined) throw new Error(`configKeys() lacks ${path}`);
  const notes = [
    key.required ? 'required' : '',
    key.perAgent ? 'per agent' : '',
    key.secret ? 'secret' : '',
    key.unused ? 'accepted, not used' : '',
    key.aliases.length > 0 ? `also ${key.aliases.map(code).join(', ')}` : '',
  ].filter((note) => note !== '');
  return [
    code(name),
    key.doc,
    key.unit === null ? key.expects : `${key.expects} (${key.unit})`,
    key.default === null ? '' : code(JSON.stringify(key.default)),
    key.environment === null ? '' : code(key.environment),
    notes.join(', '),
  ];
}

function tableSections(path, definition) {
  const inner = Object.entries(definition.keys);
  const notes = [
    definition.doc,
    definition.optional
      ? 'May be left out as a whole; when it stands, its required keys must stand too.'
      : '',
    definition.perAgent ? 'One agent may have its own, which replaces this one as a whole.' : '',
    definition.unused ? 'Accepted, because files of the original have it; not used here.' : '',
    definition.aliases?.length > 0
      ? `Also ${definition.aliases.map((name) => code(`[${name}]`)).join(', ')}.`
      : '',
  ];
  return [
    `## [${path}]`,
    notes.filter((note) => note !== '').join(' '),
    table(
      ['key', 'meaning', 'expects', 'default', 'environment', 'notes'],
      inner.flatMap(([name, key]) => (isTableDefinition(key) ? [] : [keyRow(`${path}.${name}`, name)])),
    ),
    ...inner.flatMap(([name, one]) => (isTableDefinition(one) ? tableSections(`${path}.${name}`, one) : [])),
  ];
}

/** The second file, which only the dummy backend reads. */
function dummySections(path, definition) {
  const inner = Object.entries(definition.keys);
  const rows = inner.flatMap(([name, key]) =>
    isTableDefinition(key)
      ? []
      : [
          [
            code(name),
            key.doc,
            key.unit === undefined ? key.parse.expects : `${key.parse.expects} (${key.unit})`,
            key.default === null ? '' : code(JSON.stringify(key.default)),
            key.unused ? 'accepted, not used' : '',
          ],
        ],
  );
  return [
    ...(rows.length === 0
      ? []
      : [`### [${path}]`, definition.doc, table(['key', 'meaning', 'expects', 'default', 'notes'], rows)]),
    ...inner.flatMap(([name, one]) =>
      isTableDefinition(one) ? dummySections(path === '' ? name : `${path}.${name}`, one) : [],
    ),
  ];
}

export function page() {
  const top = Object.entries(SCHEMA.keys);
  const loose = top.filter(([, definition]) => !isTableDefinition(definition));
  return parts(
    '# Configuration',
    'One TOML file with the keys of the original agent and a table `[splenium]` of our own. Kebab case and snake case are both read. The file is ' +
      'the one named by `--config`, else by `BACKEND_CONFIG_FILE`, else the first of `./agent.toml`, `agent.toml` in a parent directory that has a ' +
      '`BUILD_ROOT`, `~/.config/backend.ai/agent.toml` and `/etc/backend.ai/agent.toml`.',
    'The environment variable of a key wins over the file; `BACKEND_AGENT_HOST_OVERRIDE` and `BACKEND_AGENT_PORT` replace one half of ' +
      '`agent.rpc-listen-addr`; `--log-level` and `--debug` of `splenium start` win over `logging.level` and `debug.enabled`. What etcd holds for all ' +
      'nodes comes last: `config/redis` replaces `[redis]`, `config/agent` replaces `[api]`, `[container-logs]` and `[kernel-lifecycles]`, ' +
      '`config/container` the two ids of `[container]`, `config/plugins/accelerator` `[plugins]`.',
    '`splenium config show --origin` tells where each value comes from, `splenium config check` everything that is wrong with a file at once, ' +
      '`splenium config sample` prints a file with every key.',
    'A node with several agents has one `[[agents]]` entry for each, with tables of the same names; an entry may override the keys marked *per ' +
      'agent* and leaves the others to the shared tables. The first entry is the default agent. With one agent there is no `[[agents]]`.',
    ...top.flatMap(([name, definition]) =>
      isTableDefinition(definition) ? tableSections(name, definition) : [],
    ),
    loose.length > 0 ? '## Tables passed on as they are' : '',
    table(
      ['table', 'meaning', 'expects', 'default', 'environment', 'notes'],
      loose.map(([name]) => keyRow(name, `[${name}]`)),
    ),
    '## agent.dummy.toml',
    'A file of its own, in the working directory of the daemon; the dummy backend does not start without it, any other does not read it. An empty ' +
      'one will do. The value of a range is drawn once, when the daemon starts. `splenium.failure` is ours; the rest is the original’s.',
    ...dummySections('', DUMMY_SCHEMA),
  );
}
