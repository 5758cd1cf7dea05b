import { agentMethod, required } from '../method.js';
import { fileListing, listingToWire } from '../wire/results.js';
import { bytes, kernelId, nothing, text } from '../wire/scalars.js';

const kernel = required('kernel_id', kernelId, 'The kernel.');

/** Files below a kernel's /home/work (spec/rpc-functions.md 3.9.3). */
export const fileMethods = [
  agentMethod({
    name: 'upload_file',
    doc: 'Writes one file, making directories as needed.',
    params: [
      kernel,
      required('filename', text, 'Path relative to /home/work.'),
      required('filedata', bytes, 'The whole content.'),
    ],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.uploadFile(args.kernel_id, args.filename, args.filedata);
      return null;
    },
  }),
  agentMethod({
    name: 'download_file',
    doc: 'A file or directory as a tar archive of at most 1 MiB.',
    params: [kernel, required('filepath', text, 'Path below /home/work.')],
    returns: bytes,
    repeat: 'safe',
    handler: (args, { agent }) => agent.downloadFile(args.kernel_id, args.filepath),
  }),
  agentMethod({
    name: 'download_single',
    doc: 'The content of one file.',
    params: [kernel, required('filepath', text, 'Path below /home/work.')],
    returns: bytes,
    repeat: 'safe',
    handler: (args, { agent }) => agent.downloadSingle(args.kernel_id, args.filepath),
  }),
  agentMethod({
    name: 'list_files',
    doc: 'The entries of a directory; one that is missing is described in errors.',
    params: [kernel, required('path', text, 'Path below /home/work.')],
    returns: fileListing,
    repeat: 'safe',
    handler: async (args, { agent }) =>
      listingToWire(await agent.listFiles(args.kernel_id, args.path), args.path),
  }),
] as const;
