import { posix } from 'node:path';
import { HOME } from './work-tree.js';

/** In the words of the original (spec/rpc-functions.md 3.9.3). */
export const UPLOAD_REFUSAL = `Not allowed to upload files outside ${HOME}`;
export const DOWNLOAD_REFUSAL = `You cannot download files outside ${HOME}`;
export const LIST_REFUSAL = `You cannot list files outside ${HOME}`;

/** Pure: does the path, read as it is written, stay below the home directory? Links are not looked at. */
export function staysInside(path: string): boolean {
  if (path.includes('\0')) return false;
  const plain = posix.normalize(path === '' ? '.' : path);
  if (plain.startsWith('/')) return plain === HOME || plain.startsWith(`${HOME}/`);
  return plain !== '..' && !plain.startsWith('../');
}
