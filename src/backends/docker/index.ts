export { DockerBackend } from './docker-backend.js';
export { buildRunnerVolume, openRunnerVolume, type RunnerVolume } from './runner-volume.js';
export type { DockerBackendOptions } from './settings.js';
