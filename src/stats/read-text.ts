import { constants } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** One that is no file, a named pipe say, must not be waited for. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;

/** A file of the system as text. @throws the system's error. */
export const readText = (path: string): Promise<string> =>
  readFile(path, { encoding: 'utf8', flag: READ_FLAGS });
