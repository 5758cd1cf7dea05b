import { z } from 'zod';
import { agentMethod, optional, required } from '../method.js';
import { imagePullRequest, pushRegistry } from '../wire/kernel-creation.js';
import { backgroundTask } from '../wire/results.js';
import { bool, imageRef, kernelId, mapOf, orNil, text } from '../wire/scalars.js';

/** Functions over images (spec/rpc-functions.md 3.4 and 3.9.2). */
export const imageMethods = [
  agentMethod({
    name: 'check_and_pull',
    doc: 'Checks images and pulls what is missing, one background task each; answers at once with the task ids.',
    params: [
      required('image_configs', mapOf(imagePullRequest), 'Images by any key, usually their canonical name.'),
    ],
    returns: mapOf(text),
    repeat: 'safe',
    handler: async (args, { agent }) => {
      const tasks = await agent.checkAndPull(new Map(Object.entries(args.image_configs)));
      // Alone among the functions that start tasks, this one writes their ids without hyphens.
      return new Map([...tasks].map(([key, taskId]) => [key, taskId.replaceAll('-', '')]));
    },
  }),
  agentMethod({
    name: 'check_pulling',
    doc: 'Is a pull that check_and_pull started under way for this image?',
    params: [required('image_name', text, 'Canonical name of the image.')],
    returns: bool,
    repeat: 'safe',
    handler: (args, { agent }) => agent.isPulling(args.image_name),
  }),
  agentMethod({
    name: 'push_image',
    doc: 'Pushes an image to its registry in a background task. Of a local image there is nothing to push: its task is done at once.',
    params: [
      required('image_ref', imageRef, 'The image.'),
      required(
        'registry_conf',
        pushRegistry,
        'name, url, username, password; a login counts when it is complete.',
      ),
    ],
    returns: z.object({ bgtask_id: text, canonical: text }).describe('{bgtask_id: str, canonical: str}'),
    repeat: 'unsafe',
    handler: (args, { agent }) => {
      const { canonical, isLocal } = args.image_ref;
      const taskId = agent.pushImage({ canonical, isLocal, registry: args.registry_conf });
      return { bgtask_id: taskId, canonical };
    },
  }),
  agentMethod({
    name: 'purge_images',
    doc: 'Deletes images of this machine and reports the outcome for each.',
    params: [
      required('image_canonicals', z.array(text).describe('array<str>'), 'Canonical names.'),
      required('force', bool, 'Delete although containers or tags refer to it.'),
      required('noprune', bool, 'Keep untagged parents.'),
    ],
    returns: z
      .object({ responses: z.array(z.object({ image: text, error: text.nullable() })) })
      .describe('PurgeImagesResp'),
    repeat: 'safe',
    handler: async (args, { agent }) => {
      const { image_canonicals: canonicals, force, noprune } = args;
      return { responses: [...(await agent.purgeImages(canonicals, { force, noprune }))] };
    },
  }),
  agentMethod({
    name: 'commit',
    doc: 'Makes an image of the kernel in a background task.',
    params: [
      required('kernel_id', kernelId, 'The kernel.'),
      required('subdir', text, 'Directory below the image commit path.'),
      optional('canonical', orNil(text), null, 'Name of the new image.', { keywordOnly: true }),
      optional('filename', orNil(text), null, 'File to export the image to.', { keywordOnly: true }),
      optional('extra_labels', orNil(mapOf(text)), null, 'Labels of the new image.', {
        keywordOnly: true,
      }),
    ],
    returns: backgroundTask,
    repeat: 'unsafe',
    handler: async (args, { agent }) => {
      const { taskId, path } = await agent.commit({
        kernelId: args.kernel_id,
        subdir: args.subdir,
        canonical: args.canonical,
        filename: args.filename,
        extraLabels: args.extra_labels ?? {},
      });
      return { bgtask_id: taskId, kernel: args.kernel_id, path };
    },
  }),
  agentMethod({
    name: 'get_commit_status',
    doc: 'Is a commit of the kernel under way?',
    params: [
      required('kernel_id', kernelId, 'The kernel.'),
      required('subdir', text, 'Directory below the image commit path.'),
    ],
    returns: z.object({ kernel: text, status: z.enum(['ready', 'ongoing']) }).describe('CommitStatus'),
    repeat: 'safe',
    handler: async (args, { agent }) => ({
      kernel: args.kernel_id,
      status: await agent.commitStatus(args.kernel_id, args.subdir),
    }),
  }),
] as const;
