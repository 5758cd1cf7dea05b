import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, join, normalize, sep } from 'node:path';
import { parseDocument } from 'yaml';
import { hasCode, messageOf } from '../../core/errors.js';
import { ModelDefinitionInvalidError, ModelDefinitionMissingError } from '../errors.js';
import type { VFolderMount } from '../requests.js';
import { type Model, parseDefinition } from './definition.js';

const USUAL_NAMES = ['model-definition.yaml', 'model-definition.yml'] as const;
/** The folder is the user's, and the file is read into the daemon. */
const MAX_BYTES = 1 << 20;

/**
 * Reads the model definition of a model folder, from this machine's side (spec/kernel-lifecycle.md 2.19).
 * @param path Inside the folder; null: the usual names.
 * @throws ModelDefinitionMissingError, ModelDefinitionInvalidError
 */
export async function readDefinitionFile(
  folder: VFolderMount,
  path: string | null,
): Promise<readonly Model[]> {
  const names = path === null ? USUAL_NAMES : [path];
  for (const name of names) {
    const text = await readInside(folder, name);
    if (text !== null) return parseDefinition(parseYaml(text, name), `${name} of vFolder ${folder.name}`);
  }
  throw new ModelDefinitionMissingError(
    `Model definition file (${names.join(' or ')}) does not exist under vFolder ${folder.name} (ID ${folder.vfid})`,
  );
}

/** Null when it is no file. @throws ModelDefinitionInvalidError for one that is outside the folder, or too long. */
async function readInside(folder: VFolderMount, name: string): Promise<string | null> {
  const path = await locate(folder, name);
  if (path === null) return null;
  try {
    // The user may have put a pipe there, or put a link there by now.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      if (!(await file.stat()).isFile()) return null;
      const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES + 1));
      if (bytesRead <= MAX_BYTES) return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(folder, name, error);
  }
  throw new ModelDefinitionInvalidError(
    `model definition '${name}' of vFolder ${folder.name} has more than ${String(MAX_BYTES)} bytes`,
  );
}

/** Where it is on this machine; null: nowhere. @throws ModelDefinitionInvalidError */
async function locate(folder: VFolderMount, name: string): Promise<string | null> {
  const escape = new ModelDefinitionInvalidError(
    `model definition '${name}' leads out of vFolder ${folder.name}: give a path inside the folder`,
  );
  // Before anything outside is even looked at.
  if (isAbsolute(name) || name.includes('\0') || /^\.\.?(\/|$)/.test(normalize(name))) throw escape;
  let root: string;
  let path: string;
  try {
    root = await realpath(folder.hostPath);
    path = await realpath(join(root, name));
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return null;
    throw unreadable(folder, name, error);
  }
  // A symbolic link of the user's may lead anywhere on this machine.
  if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) throw escape;
  return path;
}

const unreadable = (folder: VFolderMount, name: string, error: unknown) =>
  new ModelDefinitionInvalidError(
    `model definition '${name}' of vFolder ${folder.name} cannot be read: ${messageOf(error)}`,
    { cause: error },
  );

function parseYaml(text: string, name: string): unknown {
  try {
    const document = parseDocument(text, { logLevel: 'error' });
    const [error] = document.errors;
    if (error) throw error;
    // Aliases are counted, so that a short file cannot become a huge value.
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  } catch (error) {
    throw new ModelDefinitionInvalidError(`Invalid YAML syntax in ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
