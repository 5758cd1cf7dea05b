export { DockerBackend, type DockerBackendOptions } from './docker-backend.js';
export { buildRunnerVolume, openRunnerVolume, type RunnerVolume } from './runner-volume.js';
