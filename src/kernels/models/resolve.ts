import type { KernelBackend } from '../../backends/backend.js';
import {
  ModelDefinitionInvalidError,
  ModelDefinitionMissingError,
  ModelFolderMissingError,
} from '../errors.js';
import type { KernelCreationRequest, VFolderMount } from '../requests.js';
import { withCommands } from './command-line.js';
import { type Model, parseDefinition } from './definition.js';
import { readDefinitionFile } from './definition-file.js';
import { CUSTOM, variantModels } from './variants.js';

/** Whose way with models is followed: until 26.x the agent finds the definition, then the manager sends it. */
export type ModelRelease = '25.17' | '26.9';

/**
 * The models that a kernel is to serve; none unless it is of an inference session (spec/kernel-lifecycle.md 2.19).
 * Looks at the model folder and at the image, and changes nothing.
 * @throws ModelFolderMissingError, ModelDefinitionMissingError, ModelDefinitionInvalidError
 */
export async function resolveModels(
  backend: Pick<KernelBackend, 'images'>,
  request: KernelCreationRequest,
  release: ModelRelease,
): Promise<readonly Model[]> {
  const { config } = request;
  if (config.sessionType !== 'inference') return [];
  const folder = config.mounts.find(({ usageMode }) => usageMode === 'model');
  if (!folder) throw new ModelFolderMissingError('At least one model virtual folder must be specified.');
  const { internalData } = config;
  const imageCommand = async () =>
    (await backend.images.command?.({
      canonical: config.image.canonical,
      isLocal: request.imageRef.isLocal,
    })) ?? [];
  if (release !== '25.17') return inlinedModels(request, folder, imageCommand);
  const variant = internalData.runtimeVariant ?? CUSTOM;
  const models =
    variant === CUSTOM
      ? await readDefinitionFile(folder, internalData.modelDefinitionPath ?? null)
      : variantModels(variant, { imageCommand: await imageCommand(), modelPath: folder.kernelPath });
  const silent = models.find(({ service }) => service?.start_command === null);
  if (silent)
    throw new ModelDefinitionInvalidError(
      `model '${silent.name}' of vFolder ${folder.name} has a service without start_command`,
    );
  return models.map((model) => withHealthCheck(model, (check) => ({ ...check, enable: true })));
}

async function inlinedModels(
  { config }: KernelCreationRequest,
  folder: VFolderMount,
  imageCommand: () => Promise<readonly string[]>,
): Promise<readonly Model[]> {
  const { modelDefinition } = config.internalData;
  if (!modelDefinition || Object.keys(modelDefinition).length === 0)
    throw new ModelDefinitionMissingError(
      `Model definition not inlined in kernel internal_data; vFolder ${folder.name} (ID ${folder.vfid})`,
    );
  const models = parseDefinition(modelDefinition, 'internal_data.model_definition').map((model) =>
    withHealthCheck(model, (check) => ({ ...check, enable: check.enable ?? false })),
  );
  const isCommandMissing = models.some(({ service }) => service?.start_command === null);
  return withCommands(models, {
    imageCommand: isCommandMissing ? await imageCommand() : [],
    environ: config.environ,
  });
}

type HealthCheck = NonNullable<NonNullable<Model['service']>['health_check']>;

function withHealthCheck(model: Model, change: (check: HealthCheck) => HealthCheck): Model {
  const { service } = model;
  if (!service?.health_check) return model;
  return { ...model, service: { ...service, health_check: change(service.health_check) } };
}
