import { ModelDefinitionInvalidError } from '../errors.js';
import { type Model, parseDefinition } from './definition.js';

interface Variant {
  readonly name: string;
  readonly port: number;
  /** Absent: no health check. */
  readonly healthPath?: string;
}

/** Images that serve a model by their own command (spec/kernel-lifecycle.md 2.19). */
const VARIANTS: Readonly<Record<string, Variant>> = {
  vllm: { name: 'vllm-model', port: 8000, healthPath: '/health' },
  nim: { name: 'nim-model', port: 8000, healthPath: '/v1/health/ready' },
  'huggingface-tgi': { name: 'tgi-model', port: 3000, healthPath: '/info' },
  sglang: { name: 'sglang-model', port: 9001, healthPath: '/health' },
  'modular-max': { name: 'max-model', port: 8000, healthPath: '/health' },
  cmd: { name: 'image-model', port: 8000 },
};

/** The variant whose models are described by the user. */
export const CUSTOM = 'custom';

/**
 * The one model of a variant. `modelPath`: where the model folder is inside the kernel.
 * @throws ModelDefinitionInvalidError for an unknown variant, and for an image without a command.
 */
export function variantModels(
  variant: string,
  { imageCommand, modelPath }: { readonly imageCommand: readonly string[]; readonly modelPath: string },
): readonly Model[] {
  const known = Object.hasOwn(VARIANTS, variant) ? VARIANTS[variant] : undefined;
  if (!known)
    throw new ModelDefinitionInvalidError(
      `there is no runtime variant '${variant}': it is one of ${[CUSTOM, ...Object.keys(VARIANTS)].join(', ')}`,
    );
  if (imageCommand.length === 0)
    throw new ModelDefinitionInvalidError(
      'image should have its own command when runtime variant is set to values other than CUSTOM!',
    );
  const { name, port, healthPath } = known;
  const service = {
    start_command: imageCommand,
    port,
    ...(healthPath === undefined ? {} : { health_check: { path: healthPath } }),
  };
  return parseDefinition(
    { models: [{ name, model_path: modelPath, service }] },
    `runtime variant ${variant}`,
  );
}
