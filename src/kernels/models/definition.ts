import { z } from 'zod';
import { ModelDefinitionInvalidError } from '../errors.js';

/**
 * The models that an inference session serves, as a model definition lists them (spec/kernel-lifecycle.md 2.19). Names
 * are those of the definition itself: the kernel runner is sent one of these as it is (spec/kernel-runner.md 2.5).
 */

/** Numbers may be written as texts, as the original takes them. */
const number = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\s*\d+(?:\.\d+)?\s*$/, 'expected a number')
      .transform(Number),
  ])
  .pipe(z.number().min(0));
const count = number.pipe(z.int().min(1));

const preStartAction = z.preprocess(
  withUnderscores,
  z.object({
    action: z.string(),
    args: z.record(z.string(), z.unknown()).default({}),
    ref: z.exactOptional(z.string()),
  }),
);

const healthCheck = z.preprocess(
  withUnderscores,
  z.object({
    /** Seconds between probes. */
    interval: number.nullish().transform((seconds) => seconds ?? 10),
    path: z
      .string()
      .nullish()
      .transform((path) => path ?? '/health'),
    max_retries: count.nullish().transform((times) => times ?? 10),
    /** Seconds that one probe may take. */
    max_wait_time: number.nullish().transform((seconds) => seconds ?? 15),
    expected_status_code: number
      .pipe(z.int().min(100))
      .nullish()
      .transform((code) => code ?? 200),
    /** Only 26.x has it. Seconds. */
    initial_delay: z.exactOptional(number),
    /** Only 26.x has it; there a check that is not enabled does not count. */
    enable: z.exactOptional(z.boolean()),
  }),
);

const service = z.preprocess(
  withUnderscores,
  z.object({
    pre_start_actions: z
      .array(preStartAction)
      .nullish()
      .transform((actions) => actions ?? []),
    /** Null: the command of the image, where the release knows this. */
    start_command: z
      .union([z.string().min(1), z.array(z.string()).min(1)])
      .nullish()
      .transform((command) => command ?? null),
    /** Runs a command that is one text; null or empty: nothing does. */
    shell: z.string().nullable().default('/bin/bash'),
    port: count,
    health_check: healthCheck.nullish().transform((check) => check ?? null),
  }),
);

export const modelSchema = z.preprocess(
  withUnderscores,
  z.object({
    name: z.string().min(1),
    /** Directory inside the kernel in which the model is started. */
    model_path: z.string().min(1),
    /** Null: there is nothing to start. */
    service: service.nullish().transform((value) => value ?? null),
  }),
);
export type Model = z.output<typeof modelSchema>;
export type ModelService = NonNullable<Model['service']>;

const definition = z.object({ models: z.array(modelSchema).min(1, 'the list of models is empty') });

/**
 * @param origin What is read, for the message: a file, or where the manager put it.
 * @throws ModelDefinitionInvalidError that names the first fields that are wrong.
 */
export function parseDefinition(value: unknown, origin: string): readonly Model[] {
  if (value === null || value === undefined)
    throw new ModelDefinitionInvalidError(`Model definition is empty. Please check ${origin}`);
  const parsed = definition.safeParse(value);
  if (parsed.success) return parsed.data.models;
  const problems = parsed.error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.map(String).join('.') || 'definition'}: ${message}`);
  throw new ModelDefinitionInvalidError(
    `Failed to validate the model definition of ${origin}: ${problems.join('; ')}`,
  );
}

/** Names with hyphens are taken, too, as 26.x does. */
function withUnderscores(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name.replaceAll('-', '_'), part as unknown]),
  );
}

/** How long the runner's word on the start of a model is awaited, by its health check (spec/kernel-lifecycle.md 2.19). */
export function healthCheckLimits({ service }: Model): {
  readonly maxRetries: number;
  readonly maxWaitTimeMs: number;
} | null {
  const check = service?.health_check;
  if (!check || check.enable === false) return null;
  return { maxRetries: check.max_retries, maxWaitTimeMs: check.max_wait_time * 1000 };
}
