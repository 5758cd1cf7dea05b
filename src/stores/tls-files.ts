import { type FileHandle, open } from 'node:fs/promises';
import { messageOf } from '../core/errors.js';
import { StoreKeyFileError } from './errors.js';

/** What proves who is who, all PEM. */
export interface TlsMaterial {
  readonly ca: Buffer;
  readonly client: { readonly cert: Buffer; readonly key: Buffer } | null;
}

/**
 * Reads the files of a TLS connection.
 * @throws StoreKeyFileError for a file that cannot be read or holds something else, or a secret key open to others.
 */
export async function readTlsFiles(files: {
  readonly caFile: string;
  readonly client: { readonly certFile: string; readonly keyFile: string } | null;
}): Promise<TlsMaterial> {
  const { caFile, client } = files;
  return {
    ca: await readPem(caFile, 'CERTIFICATE'),
    client: client && {
      cert: await readPem(client.certFile, 'CERTIFICATE'),
      key: await readPem(client.keyFile, 'PRIVATE KEY'),
    },
  };
}

async function readPem(path: string, kind: 'CERTIFICATE' | 'PRIVATE KEY'): Promise<Buffer> {
  let file: FileHandle | undefined;
  let content: Buffer;
  let mode: number;
  try {
    file = await open(path);
    // Of the file that is read, whatever stands under its name meanwhile.
    mode = (await file.stat()).mode & 0o777;
    content = await file.readFile();
  } catch (error) {
    throw new StoreKeyFileError(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  } finally {
    await file?.close();
  }
  if (kind === 'PRIVATE KEY' && (mode & 0o077) !== 0)
    throw new StoreKeyFileError(
      `${path} holds a secret key and others have access (mode 0${mode.toString(8)}): chmod 0600 it`,
    );
  if (!content.includes(`${kind}-----`))
    throw new StoreKeyFileError(`${path} holds no PEM block with a ${kind.toLowerCase()}`);
  return content;
}
