export { DockerBackend } from './docker-backend.js';
export type { DistroCache } from './distro-probe.js';
export { buildRunnerVolume, openRunnerVolume, type RunnerVolume } from './runner-volume.js';
export type { DockerBackendOptions } from './settings.js';
