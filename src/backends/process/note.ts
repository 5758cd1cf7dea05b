import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../core/ids.js';
import { hasCode } from '../../core/errors.js';
import { writeWhole } from '../../disk/whole-file.js';
import type { KernelHandle } from '../backend.js';

const idsSchema = z.object({
  agentId: z.string().transform(parseAgentId),
  kernelId: z.string().transform(parseKernelId),
  sessionId: z.string().transform(parseSessionId),
  containerId: z.string().transform(asContainerId),
});

const mountSchema = z.object({
  /** Path below the work directory. */
  at: z.string(),
  source: z.string(),
  permission: z.enum(['ro', 'rw']),
});

const stateSchema = z.object({
  /** Holds the note, the console log and the exit status. */
  directory: z.string(),
  work: z.string(),
  sockets: z.string(),
  /** Differs for each incarnation of a kernel. */
  mark: z.string(),
  uid: z.number().nullable(),
  gid: z.number().nullable(),
  mounts: z.array(mountSchema),
});

const launchSchema = z.object({
  runtimeType: z.string(),
  runtimePath: z.string().nullable(),
  environment: z.record(z.string(), z.string()),
  config: z.string(),
  cpuCores: z.array(z.number()),
  memoryBytes: z.number(),
  supplementaryGids: z.array(z.number()),
});

const processSchema = z.object({
  pid: z.number().int().positive(),
  startTicks: z.number(),
  bootId: z.string(),
  cgroup: z.string().nullable(),
});

const exitSchema = z.object({
  exitCode: z.number().int().nullable(),
  oomKilled: z.boolean(),
  detail: z.string(),
});

const noteSchema = z.object({
  version: z.literal(1),
  ids: idsSchema,
  state: stateSchema,
  /** How to start it; unknown when the note had to be rebuilt. */
  launch: launchSchema.nullable(),
  process: processSchema.nullable(),
  exit: exitSchema.nullable(),
});

/** The backend's facts in `KernelHandle.state`. */
export type ProcessState = z.infer<typeof stateSchema>;
export type MountLink = z.infer<typeof mountSchema>;
export type Launch = z.infer<typeof launchSchema>;
export type KeeperProcess = z.infer<typeof processSchema>;
export type Outcome = z.infer<typeof exitSchema>;
/** All that is known of one kernel; lies in its directory, so that a daemon that knows nothing finds it again. */
export type Note = z.infer<typeof noteSchema>;

const NOTE_FILE = 'note.json';

/** @throws ZodError for a handle of another backend or a damaged journal. */
export const stateOf = (handle: KernelHandle): ProcessState => stateSchema.parse(handle.state);

export const handleOf = (note: Note): KernelHandle => ({
  version: 1,
  backend: 'process',
  ...note.ids,
  state: note.state,
});

/** Null when there is none. @throws SyntaxError or ZodError when it is damaged. */
export async function readNote(directory: string): Promise<Note | null> {
  try {
    return noteSchema.parse(JSON.parse(await readFile(join(directory, NOTE_FILE), 'utf8')));
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return null;
    throw error;
  }
}

/** A reader sees the old note or the new one. It holds the kernel's environment, hence the mode. */
export async function writeNote(directory: string, note: Note): Promise<void> {
  await writeWhole(join(directory, NOTE_FILE), JSON.stringify(note));
}
