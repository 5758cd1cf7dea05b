import { randomUUID } from 'node:crypto';
import type { KernelPlan } from '../../backends/backend.js';
import { NotImplementedError } from '../../core/errors.js';
import { parseKernelId } from '../../core/ids.js';
import { modelPorts } from '../models/needs.js';
import { resolveModels } from '../models/resolve.js';
import { SessionNetworks } from '../networks/session-networks.js';
import type { KernelCreationRequest, KernelPreview } from '../requests.js';
import { gatherPlan } from './gather-plan.js';
import type { KernelAllocation, LifecycleParts } from './parts.js';
import { checkArchitecture } from './pull.js';
import { countHostPorts, fixedPortsOf, planServices, withHostPorts } from './service-ports.js';

const REDACTED = '<redacted>';

/**
 * What the creation of a kernel would ask of the backend, with the resources and ports that it would get now. Makes
 * nothing and keeps nothing: the trial allocation is undone before anybody else can see it, no port is taken, no image
 * is looked for.
 * @throws what the creation would throw up to here; NotImplementedError of a backend that cannot tell.
 */
export async function previewKernel(
  parts: Pick<LifecycleParts, 'agentId' | 'backend' | 'networks' | 'resources' | 'ports' | 'settings'>,
  request: KernelCreationRequest,
  { showSecrets }: { readonly showSecrets: boolean },
): Promise<KernelPreview> {
  const { backend, networks = new SessionNetworks(), ports: pool, settings } = parts;
  if (!backend.describe)
    throw new NotImplementedError(
      'plan_kernel',
      `the ${backend.kind} backend cannot tell how it would start a kernel`,
    );
  checkArchitecture(request.imageRef.architecture, settings.architecture);
  const { config } = request;
  const models = await resolveModels(backend, request, settings.managerVersion ?? '25.17');
  const network = await networks.join(parts.agentId, request, { isPreview: true });
  const services = planServices(config, modelPorts(models));
  const allocation = allocateOnTrial(parts, request);
  const fixed = fixedPortsOf(request, services, backend);
  const [replIn = 0, replOut = 0, ...forServices] = pool.preview(2 + countHostPorts(services, fixed));
  const { plan } = gatherPlan(parts, {
    request,
    allocation,
    ports: { replIn, replOut, booked: [] },
    services: withHostPorts(services, forServices, fixed),
    models,
    network,
    scratchRoot: null,
  });
  return {
    agentId: parts.agentId,
    kernelId: request.kernelId,
    backend: backend.kind,
    launch: await backend.describe(showSecrets ? plan : redacted(plan, request)),
  };
}

/** Under an id of its own, as the kernel may exist. Nothing else runs between taking and giving back. */
function allocateOnTrial(
  { resources }: Pick<LifecycleParts, 'resources'>,
  { config }: KernelCreationRequest,
): KernelAllocation {
  const trial = parseKernelId(randomUUID());
  try {
    return resources.allocate(trial, {
      slots: config.resourceSlots,
      shmemBytes: config.resourceOpts.shmemBytes,
      allowFractionalFragmentation: config.resourceOpts.allowFractionalResourceFragmentation,
    });
  } finally {
    resources.free(trial);
  }
}

/** The values of the caller's own variables are nobody else's business; those that the agent adds hold no secret. */
function redacted(plan: KernelPlan, { config }: KernelCreationRequest): KernelPlan {
  const environment = Object.fromEntries(
    Object.entries(plan.environment).map(([name, value]) => [
      name,
      config.environ[name] === value ? REDACTED : value,
    ]),
  );
  return { ...plan, environment };
}
