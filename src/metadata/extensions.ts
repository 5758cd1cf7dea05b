import { z } from 'zod';
import { within } from '../core/async.js';
import { InvariantError } from '../core/errors.js';
import type { Kernel } from '../kernels/kernel.js';
import type { MetadataKernel, MetadataPlugin, MetadataValue } from './metadata-plugin.js';
import { EXTENSIONS, type MetadataLeaves } from './metadata-tree.js';

/** Who asks: its address, and its kernel if its agent knows it. */
interface Asking {
  readonly address: string;
  readonly kernel: Kernel | null;
}

/** A kernel waits; shorter than the server's own limit. */
const READ_MS = 4000;
const MAX_CHARS = 1024 * 1024;

const valueSchema = z
  .object({
    contentType: z.enum(['application/json', 'text/plain']),
    body: z.string().max(MAX_CHARS),
  })
  .nullable();

/** The values of plugins by path. A kernel that its agent does not know has none. */
export function extensionLeaves(plugins: readonly MetadataPlugin[]): MetadataLeaves<Asking> {
  return Object.fromEntries(
    plugins.flatMap((plugin) =>
      plugin.paths.map((path) => [
        `${EXTENSIONS}/${plugin.name}/${path}`,
        (asking: Asking) => read(plugin, path, asking),
      ]),
    ),
  );
}

/** @throws what the plugin throws; TimeoutError; InvariantError for what is no value. */
async function read(
  plugin: MetadataPlugin,
  path: string,
  { address, kernel }: Asking,
): Promise<MetadataValue | null> {
  const asking = kernel && kernelOf(kernel, address);
  if (!asking) return null;
  const answer: unknown = await within(plugin.read(path, asking), {
    timeoutMs: READ_MS,
    what: `metadata plugin ${plugin.name}: ${path}`,
  });
  const parsed = valueSchema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new InvariantError(
    `metadata plugin ${plugin.name}: ${path} is no contentType and body of at most ${String(MAX_CHARS)} characters`,
  );
}

function kernelOf(kernel: Kernel, address: string): MetadataKernel | null {
  const { agentId, id: kernelId, sessionId, containerId, request } = kernel;
  if (containerId === null) return null;
  const { clusterRole, clusterHostname } = request.config;
  return { agentId, kernelId, sessionId, containerId, address, clusterRole, clusterHostname };
}
