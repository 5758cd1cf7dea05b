import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { hasCode, messageOf } from '../../core/errors.js';
import type { AgentId, KernelId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';
import type { KernelHandle } from '../backend.js';
import { KernelProcessExistsError, KernelProcessMissingError } from './errors.js';
import { handleOf, readNote, stateOf, writeNote, type Note } from './note.js';

interface KernelNotesParts {
  /** Holds one directory a kernel. */
  readonly directory: string;
  /** Stands in for a note that cannot be read. */
  readonly rebuild: (handle: KernelHandle) => Promise<Note>;
  readonly logger: Logger;
}

/** What is written down about all kernels of one state directory. */
export class KernelNotes {
  readonly #parts: KernelNotesParts;

  constructor(parts: KernelNotesParts) {
    this.#parts = parts;
  }

  directoryOf(kernelId: KernelId): string {
    return join(this.#parts.directory, kernelId);
  }

  /**
   * Null when the kernel is gone or its place has been taken by a later incarnation.
   * @throws KernelProcessMissingError for a handle that names a foreign directory.
   */
  async of(handle: KernelHandle): Promise<Note | null> {
    const { kernelId } = handle;
    const { directory, mark } = stateOf(handle);
    // What comes from a journal names what is deleted later.
    if (basename(directory) !== kernelId)
      throw new KernelProcessMissingError(`the handle of kernel ${kernelId} names a foreign directory`);
    const note = await readNote(directory).catch((error: unknown) => {
      this.#unreadable(kernelId, error);
      return this.#parts.rebuild(handle);
    });
    return note?.state.mark === mark ? note : null;
  }

  /** Those of one agent. Unreadable ones are logged. */
  async list(owner: AgentId): Promise<readonly KernelHandle[]> {
    const handles: KernelHandle[] = [];
    for (const name of await readdir(this.#parts.directory).catch(emptyIfMissing)) {
      if (name.startsWith('.')) continue;
      try {
        const note = await readNote(join(this.#parts.directory, name));
        if (note?.ids.agentId === owner) handles.push(handleOf(note));
      } catch (error) {
        this.#unreadable(name, error);
      }
    }
    return handles;
  }

  /**
   * The kernel is there once its directory has its name: complete, or not at all. What lies
   * elsewhere is made when the name is free and before it is taken, and undone on failure.
   * @throws KernelProcessExistsError, and what `make` throws.
   */
  async add(note: Note, elsewhere: { make(): Promise<void>; undo(): Promise<void> }): Promise<void> {
    const { kernelId } = note.ids;
    const { directory } = note.state;
    const draft = this.#hidden('new');
    let isMade = false;
    try {
      await mkdir(draft, { recursive: true, mode: 0o700 });
      await writeNote(draft, note);
      if (await readNote(directory).catch(() => 'damaged')) throw alreadyThere(kernelId);
      isMade = true;
      await elsewhere.make();
      await rename(draft, directory).catch((error: unknown) => {
        throw hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EEXIST') ? alreadyThere(kernelId) : error;
      });
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      if (isMade) await elsewhere.undo();
      throw error;
    }
  }

  /** Gone at once for everybody who looks, even when deleting takes time. */
  async remove(note: Note): Promise<void> {
    const removed = this.#hidden('removed');
    await rename(note.state.directory, removed);
    await rm(removed, { recursive: true, force: true });
  }

  #hidden(what: 'new' | 'removed'): string {
    return join(this.#parts.directory, `.${what}-${randomBytes(6).toString('hex')}`);
  }

  #unreadable(kernelId: string, error: unknown): void {
    this.#parts.logger.error('the note of a kernel is unreadable', { kernelId, error: messageOf(error) });
  }
}

const alreadyThere = (kernelId: KernelId) =>
  new KernelProcessExistsError(`kernel ${kernelId} exists already: remove it first`);

function emptyIfMissing(error: unknown): string[] {
  if (hasCode(error, 'ENOENT')) return [];
  throw error;
}
