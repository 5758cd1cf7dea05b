import type { PlannedService } from '../lifecycle/service-ports.js';
import type { Model } from './definition.js';

/**
 * What a kernel is told of the models it serves (spec/kernel-lifecycle.md 2.19): the first one's name, unless the
 * request has another, and the last one's directory. Pure.
 */
export function modelEnvironment(
  models: readonly Model[],
  environ: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const [first] = models;
  const last = models.at(-1);
  if (!first || !last) return {};
  return {
    BACKEND_MODEL_NAME: environ['BACKEND_MODEL_NAME'] ?? first.name,
    BACKEND_MODEL_PATH: last.model_path,
  };
}

/** One port for each model that serves; who plans the ports checks that they are free. Pure. */
export function modelPorts(models: readonly Model[]): readonly PlannedService[] {
  return models.flatMap(({ name, service }) =>
    service
      ? [
          {
            name: `${name}-${String(service.port)}`,
            protocol: 'preopen' as const,
            containerPorts: [service.port],
            isInference: true,
          },
        ]
      : [],
  );
}
